"""What every error that leaves a public call must be: the library's own, whole, portable, and without a secret."""

from __future__ import annotations

import copy
import os
import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from nodus import APIConnectionError, ConfigurationError, JobTimeoutError, NodusError, ValidationError
from tests.support.clock import AsyncFakeClock, FakeClock

API_KEY = "nk_test_7Z4dMfQ3kT8vWx2p"
SIGNING_SECRET = "sgn_9bfe0000c0de0000000000000014"
ENV_VALUE = "hf_Xq8eLr5nVw0zYt3uMb6"
SECRETS = (API_KEY, SIGNING_SECRET, ENV_VALUE)

_Clock = TypeVar("_Clock", AsyncFakeClock, FakeClock)


class _PassingTime:
    """What a clock shows on which time passes by itself too."""

    seconds: float

    def now(self) -> float:
        return time.monotonic() + self.seconds


def hurried(kind: type[_Clock]) -> _Clock:
    """A clock on which network operations take the time that they take, while sleeps are over at once."""
    clock: _Clock = type(f"Hurried{kind.__name__}", (_PassingTime, kind), {})()
    return clock


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """The error, and everything that led to it."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        todo += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]


def assert_sound(error: NodusError) -> None:
    """Check an error for everything that is promised of each."""
    assert type(error).__module__ == "nodus"
    assert error.code
    assert error.message
    if not isinstance(error, (ConfigurationError, ValidationError, JobTimeoutError)):
        assert error.attempts >= 1
    if isinstance(error, APIConnectionError):
        assert error.__cause__ is not None
    _assert_portable(error)
    for one in chain_of(error):
        assert_no_secret(one)


def assert_no_secret(error: BaseException) -> None:
    """Check that nothing of an error shows a credential or a value of `env`."""
    shown = [str(error), repr(error), repr(error.args), repr(vars(error)), *getattr(error, "__notes__", ())]
    # What a cause holds shows only through its attributes, which pydantic's and httpx's keep out of `vars`.
    shown += [repr(getattr(error, name, None)) for name in ("_request", "doc", "object", "filename")]
    found = [secret for secret in SECRETS for text in shown if secret in text]
    assert found == [], f"{type(error).__name__} shows a secret"


def _assert_portable(error: NodusError) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error), copy.copy(error)):
        assert type(twin) is type(error)
        assert (str(twin), repr(twin), twin.args) == (str(error), repr(error), error.args)
        assert repr(_facts(twin)) == repr(_facts(error))


def _facts(error: NodusError) -> dict[str, object]:
    # The handle of a job stays behind where its error goes: only the snapshot travels.
    return {name: value for name, value in vars(error).items() if name != "job"}


def open_files() -> list[str]:
    """What this process has open, sockets included; skips the test where the system cannot tell."""
    table = Path("/proc/self/fd")
    if not table.is_dir():
        pytest.skip("this system does not list a process's open files")
    found = []
    for entry in table.iterdir():
        try:
            found.append(os.readlink(entry))
        except OSError:  # the one that was open to list them
            continue
    return sorted(found)
