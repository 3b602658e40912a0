"""How the demonstration models are made: from mixtures of generated examples to exported weights.

Needs the `reasoner` extra (PyTorch above all); nothing else in the project imports it.
"""
