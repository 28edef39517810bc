"""How long tests wait for what happens at once on an idle machine."""

PATIENCE_SECONDS = 60.0
"""Generous, because the machine may be busy: nobody waits so long unless something is wrong."""
