"""The database itself: engines, transactions, tables and rows, sealing, settings, and Redis beside it."""
