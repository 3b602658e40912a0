"""The vocabulary every other package speaks: frozen types, votes, stopping rules, budgets, context, errors."""
