"""Shows on stderr what the library logs about retries and failed polls, so that a user knows why a command waits."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from .._logs import logger
from .output import Output, Painted

_ABOUT_TROUBLE = ("session", "polling", "event_stream", "log_stream", "polled_events")


class RetryNotices(logging.Handler):
    """Writes the library's messages about transient trouble as notes."""

    def __init__(self, output: Output) -> None:
        super().__init__(logging.INFO)
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        if record.module in _ABOUT_TROUBLE:
            self._output.note(Painted(record.getMessage(), "yellow"))


@contextlib.contextmanager
def shown_retries(output: Output) -> Iterator[None]:
    """Show notes inside the block, unless the user has turned on the library's whole log."""
    level = logger.level
    if logger.isEnabledFor(logging.INFO) and level != logging.NOTSET:
        yield
        return
    handler = RetryNotices(output)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
