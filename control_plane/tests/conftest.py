"""Fixtures for all tests of the control plane, and how their property tests run."""

from hypothesis import HealthCheck, settings
from servers.engines import (
    database_url,
    empty_database_url,
    engine,
    kept_database_url,
    postgres_shared,
    pytest_generate_tests,
)
from servers.fixtures import pgbouncer, postgres_server, postgres_url, redis_server, redis_url

# What a test finds must not depend on the run, on which files run with it, nor on how busy the machine is.
settings.register_profile(
    "nodus",
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("nodus")

__all__ = [
    "database_url",
    "empty_database_url",
    "engine",
    "kept_database_url",
    "pgbouncer",
    "postgres_server",
    "postgres_shared",
    "postgres_url",
    "pytest_generate_tests",
    "redis_server",
    "redis_url",
]
