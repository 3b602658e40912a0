"""What the sources of the stopping rules claim, checked where it can be: `python -m bench.claims`."""
