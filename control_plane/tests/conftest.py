"""Fixtures for all tests of the control plane."""

from servers.engines import (
    database_url,
    empty_database_url,
    engine,
    kept_database_url,
    postgres_shared,
    pytest_generate_tests,
)
from servers.fixtures import postgres_server, postgres_url, redis_server, redis_url

__all__ = [
    "database_url",
    "empty_database_url",
    "engine",
    "kept_database_url",
    "postgres_server",
    "postgres_shared",
    "postgres_url",
    "pytest_generate_tests",
    "redis_server",
    "redis_url",
]
