"""The vocabulary every other package speaks: frozen types, votes, stopping rules, budgets, the strategy's context, errors."""
