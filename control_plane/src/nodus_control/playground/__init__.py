"""A control plane to try things on: one command, no account, a page to watch."""
