"""What every test stands on: both event loops, and an environment without settings of the developer's own."""

from __future__ import annotations

import gc
import inspect
import os
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# What a test finds must not depend on the run, nor on how busy the machine is.
settings.register_profile(
    "nodus", deadline=None, database=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("nodus")

POOLS = ("Trio", "AnyIO", "asyncio")
"""How the names of threads begin that event loops keep for later."""

PATIENCE_SECONDS = 60.0
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


@pytest.fixture(autouse=True, scope="module")
def nothing_left_behind() -> Iterator[None]:
    """Collect what was forgotten while a module's tests ran, so that its warnings come up there; count the threads."""
    before = set(threading.enumerate())
    yield
    gc.collect()
    left = {thread for thread in set(threading.enumerate()) - before if not thread.name.startswith(POOLS)}
    for thread in left:
        # One that is about to end may not have come to it yet.
        thread.join(PATIENCE_SECONDS)

    assert {thread.name for thread in left if thread.is_alive()} == set()
