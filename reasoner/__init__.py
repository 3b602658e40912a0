"""The demonstration models: their task (generator, verifier), question splits, recorder, checks and weights."""
