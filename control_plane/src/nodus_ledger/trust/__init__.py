"""The Trust Ledger: one append-only log for each customer, its tree, its signed checkpoints and its readers."""
