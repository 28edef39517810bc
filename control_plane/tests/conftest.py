"""Fixtures for all tests of the control plane, and how their property tests run."""

from collections.abc import Iterator

import forked  # noqa: F401  # before any fixture changes the environment
import pytest
from hypothesis import HealthCheck, settings
from sampling import pytest_addoption, pytest_collection_modifyitems, pytest_configure, pytest_ignore_collect
from servers.engines import (
    database_url,
    empty_database_url,
    engine,
    kept_database_url,
    patient_databases,
    postgres_shared,
    pytest_generate_tests,
    usual_limits,
)
from servers.fixtures import (
    container_engine,
    image_registry,
    pgbouncer,
    postgres_server,
    postgres_url,
    redis_server,
    redis_url,
    slurm,
    slurm_cluster,
    ssh_server,
)
from threads import threads_end
from trusted import certificates_are_loaded_once

# What a test finds must not depend on the run, on which files run with it, nor on how busy the machine is.
settings.register_profile(
    "nodus",
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("nodus")


@pytest.fixture(autouse=True)
def every_thread_is_over() -> Iterator[None]:
    """Wait for the threads that a test started: one that outlives its test fails another, on a busy machine."""
    yield from threads_end()


__all__ = [
    "certificates_are_loaded_once",
    "container_engine",
    "database_url",
    "empty_database_url",
    "engine",
    "every_thread_is_over",
    "image_registry",
    "kept_database_url",
    "patient_databases",
    "pgbouncer",
    "postgres_server",
    "postgres_shared",
    "postgres_url",
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_generate_tests",
    "pytest_ignore_collect",
    "redis_server",
    "redis_url",
    "slurm",
    "slurm_cluster",
    "ssh_server",
    "usual_limits",
]
