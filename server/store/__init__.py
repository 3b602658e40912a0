"""What gateway replicas share: slots of engines, tokens served, prices, verdicts. One process shares with nobody."""
