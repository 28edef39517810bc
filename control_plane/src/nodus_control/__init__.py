"""The service: the HTTP API, the worker that drives jobs, the suppliers that run them, and the playground."""
