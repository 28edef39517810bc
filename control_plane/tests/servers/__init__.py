"""Real servers for the tests: PostgreSQL and Redis, started on loopback in a temporary directory, gone afterwards."""
