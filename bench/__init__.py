"""The harness behind the figures in docs/: accuracy against compute, and the cost of the upstream client."""
