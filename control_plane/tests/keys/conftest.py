"""Control planes whose keys are minted as operators mint them, called as users call them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from keys.callers import Caller, serve
from patience import PATIENCE_SECONDS
from webhooks.unhurried import no_attempt_runs_out_of_time, no_name_server_is_asked

from nodus_control.testing import LocalControlPlane
from nodus_ledger.database.sealing import KEY_VARIABLE


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing from the developer's own environment."""
    for name in (KEY_VARIABLE, "NODUS_DATABASE_URL", "NODUS_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def patient_with_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine Redis may take longer to answer than a request would wait for it."""
    monkeypatch.setattr("nodus_ledger.database.redis_store.TIMEOUT_SECONDS", PATIENCE_SECONDS)


@pytest.fixture
def served(kept_database_url: str) -> Iterator[Callable[..., Caller]]:
    """Starts self-hosted control planes on the database, each as a process of its own would be."""
    with ExitStack() as stack:
        yield lambda redis_url=None: stack.enter_context(serve(kept_database_url, redis_url))


@pytest.fixture
def control_plane(database_url: str) -> Iterator[LocalControlPlane]:
    """A playground whose clock stands, on loopback."""
    with LocalControlPlane(database=database_url) as started:
        yield started


__all__ = [
    "control_plane",
    "no_attempt_runs_out_of_time",
    "no_name_server_is_asked",
    "nothing_from_outside",
    "patient_with_redis",
    "served",
]
