"""Checking a whole database: logs, sums and times."""
