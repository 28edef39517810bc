"""API keys, their budgets, signing secrets, and the signatures that were used already."""
