"""The database itself: dialects, transactions, tables and rows, sealing, settings, and Redis beside it."""
