"""Who calls, and how much they may ask for: lately seen callers, their addresses, and rate limits."""
