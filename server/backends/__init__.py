"""Upstream endpoints: any OpenAI-compatible server over HTTP, and the embedded llama.cpp engine."""
