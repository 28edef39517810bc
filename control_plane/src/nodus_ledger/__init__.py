"""All that the control plane remembers: every statement of SQL and every secret is in here."""
