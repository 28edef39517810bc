"""What every test stands on: both event loops, and an environment without settings of the developer's own."""

from __future__ import annotations

import gc
import inspect
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.sampling import (
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_ignore_collect,
)
from tests.support.threads import threads_end

# What a test finds must not depend on the run, nor on how busy the machine is.
settings.register_profile(
    "nodus", deadline=None, database=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("nodus")

DEVELOPMENT_VARIABLES = ("PYTHONASYNCIODEBUG", "PYTHONDEVMODE")
PROXY_VARIABLES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The event loop that an asynchronous test runs on: each runs on both."""
    name: str = request.param
    return name


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(name: str, obj: object) -> None:
    """Let every asynchronous test run on an event loop, without a mark on each."""
    if name.startswith("test_") and inspect.iscoroutinefunction(obj):
        pytest.mark.anyio(obj)


def pytest_collection_finish() -> None:
    """Keep the collector out of thousands of collected tests: it is run after many of them, to find what they left."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away every setting that the machine may have, the user's proxy included.

    Programs are started without Python's development mode too, in which asyncio tells on stderr what took long.
    """
    for name in list(os.environ):
        if name.startswith("NODUS_") or name.upper() in PROXY_VARIABLES or name in DEVELOPMENT_VARIABLES:
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def every_thread_is_over() -> Iterator[None]:
    """Wait for the threads that a test started: one that outlives its test fails another, on a busy machine."""
    yield from threads_end()


@pytest.fixture(autouse=True, scope="module")
def nothing_left_behind() -> Iterator[None]:
    """Collect what was forgotten while a module's tests ran, so that its warnings come up there."""
    yield
    gc.collect()


__all__ = ["pytest_addoption", "pytest_collection_modifyitems", "pytest_configure", "pytest_ignore_collect"]
