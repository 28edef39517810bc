"""API keys, their budgets, signing secrets, and the signatures that were used already."""

from .keys import PrincipalKind

__all__ = ["PrincipalKind"]
