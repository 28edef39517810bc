"""Who calls, and how much they may ask for: lately seen callers, their addresses, and rate limits.

What a caller may do with a job is in `nodus_ledger/jobs/permissions.py`.
"""
