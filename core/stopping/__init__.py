"""Stopping rules: pure functions of the evidence that compose with `|` (any) and `&` (all).

    rule = at_least(3) & (adaptive_consistency(0.95) | curtailment())
    reason = rule(Evidence((4,), remaining=12))

A rule answers with the reason to stop, or None to go on. `core.stopping.names` knows each by its name.
"""
