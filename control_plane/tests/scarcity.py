"""Hosts that have no more of something, as code meets them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

NO_THREAD = "can't start new thread"


@contextmanager
def no_thread(name: str) -> Iterator[None]:
    """Let no thread begin in the block whose name begins so, as where there are as many as there may be."""
    start = threading.Thread.start

    def start_others(thread: threading.Thread) -> None:
        if thread.name.startswith(name):
            raise RuntimeError(NO_THREAD)
        start(thread)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(threading.Thread, "start", start_others)
        yield
