"""Everything that the control plane remembers: all SQL and all secrets are in this package."""
