"""`python -m nodus_ledger.admin`: what operators do to a database, from a shell. A command is a module."""
