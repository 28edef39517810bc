# Generated from src/nodus/_async/submission.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""Submits many jobs: a request for each batch, and what could not be accepted at the moment sent again."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from .._batches import ManySubmissions
from .._errors import NodusError
from .._logs import logger
from .._retry import RetryState
from .session import Session


def submit_many(session: Session, many: ManySubmissions) -> None:
    """Submit all of them; afterwards, each has its outcome.

    Raises:
        NodusError: the first request failed, and no job can have been accepted.
    """
    while batch := many.next_batch():
        _submit_batch(session, many, batch)


def _submit_batch(session: Session, many: ManySubmissions, batch: Sequence[int]) -> None:
    settings, clock = session.settings, session.clock
    deadline = None if settings.total_timeout is None else clock.now() + settings.total_timeout
    retry = RetryState(max_retries=settings.max_retries, deadline=deadline, rng=session.rng)
    while batch:
        call = many.call(batch)
        logger.info("submitting %d jobs", len(batch))
        try:
            failure = session.call(call, functools.partial(many.read, batch, call))
        except NodusError as exc:
            many.failed(batch, exc)
            return
        if failure is None:
            return
        delay = retry.delay_after(failure, clock.now())
        if delay is None:
            return
        batch = many.to_send_again(batch)
        logger.info("%d jobs are sent again in %.1f s: %s", len(batch), delay, failure.error.code)
        clock.sleep(delay)
