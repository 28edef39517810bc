"""What `on_retry=` and `on_response=` may be, and what they are called with."""

from __future__ import annotations

import dataclasses
import functools

import pytest

import nodus
from nodus._hooks import is_hook


async def awaited(event: object) -> None:
    """A hook that nobody would await."""


class Counter:
    def __call__(self, event: object) -> None: ...


@pytest.mark.parametrize("hook", [None, print, Counter(), functools.partial(print, "x"), lambda event: None])
def test_anything_that_can_be_called_is_a_hook(hook: object) -> None:
    """None means none."""
    assert is_hook(hook)


@pytest.mark.parametrize("hook", [awaited, functools.partial(awaited), "print", 7])
def test_a_coroutine_function_is_no_hook(hook: object) -> None:
    """It would return a coroutine that never runs."""
    assert not is_hook(hook)


def test_events_are_values_that_show_no_headers() -> None:
    """A header may hold what a proxy would rather keep."""
    event = nodus.ResponseEvent("GET", "/v1/jobs", 200, {"X-Secret": "s3cret"}, "req-1", 1, 0.25)

    assert "s3cret" not in repr(event)
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.attempt = 2  # type: ignore[misc]
