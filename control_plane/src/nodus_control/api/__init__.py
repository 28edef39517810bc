"""The HTTP API, a resource a file."""
