"""A model of a vLLM V1 server under virtual time: `engine.Engine`, the parameters it takes, and how to fit them."""
