# Generated from src/nodus/_async/log_stream.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""Following what a job prints, as text, across connections that drop."""

from __future__ import annotations

import codecs
import logging
from types import TracebackType
from typing import TYPE_CHECKING

from .. import _calls, _http
from .._errors import APITimeoutError, NodusError
from .._http import Reply
from .._live import Reconnection, has_no_endpoint
from .._logs import logger
from .._models import JobView
from .._poll import DEFAULT_POLL_SECONDS, DEFAULT_UNREACHABLE_SECONDS
from .._retry import Failure
from .session import Session
from .stream import StreamedAnswer

if TYPE_CHECKING:
    from typing_extensions import Self

ATTEMPT_HEADER = "nodus-attempt"
"""Which placement's output an answer has: another one's begins anew."""


class LogStream:
    """What a job prints, as it prints it, until it is over.

    Iterate over it: each piece is text, cut anywhere but inside a character; bytes that are not UTF-8 become U+FFFD. A
    connection that drops is opened again where it had come to. Where a supplier lost the job, the output of its next
    placement follows.

    The loop can be left half-way. As a context manager, or with `close()`, the connection is given back at once;
    otherwise with the client's next request.
    """

    def __init__(self, session: Session, job_id: str, *, submitted_at: float | None = None) -> None:
        total = session.settings.total_timeout
        self._session = session
        self._job_id = job_id
        self._submitted_at = submitted_at
        self._reconnection = Reconnection(
            unreachable_seconds=DEFAULT_UNREACHABLE_SECONDS if total is None else total, rng=session.rng
        )
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._answer: StreamedAnswer | None = None
        self._offset = 0
        self._passes_over = 0
        self._reads_whole = False
        self._attempt: str | None = None
        self._pause_seconds = 0.0
        self._was_terminal = False
        self._is_over = False

    def __iter__(self) -> LogStream:
        return self

    def __next__(self) -> str:
        while not self._is_over:
            try:
                text = self._advance()
            except BaseException:
                self._release()
                raise
            if text:
                return text
        raise StopIteration

    def close(self) -> None:
        """Give the connection back. Iterating afterwards gives nothing more."""
        self._is_over = True
        self._release()

    def _advance(self) -> str:
        """Take one step: wait, open a connection, or read from it; give what could be read."""
        if self._answer is not None:
            return self._read(self._answer)
        if self._pause_seconds:
            pause, self._pause_seconds = self._pause_seconds, 0.0
            self._session.clock.sleep(pause)
        return self._open()

    def _open(self) -> str:
        # Without a place, what has been printed so far is read, and looked for again after a while.
        place = self._session.take_stream_place()
        offset, self._reads_whole = (0 if self._reads_whole else self._offset), False
        call = _calls.follow_logs(self._job_id, offset=offset, follow=place is not None)
        outcome = self._session.open(call, place=place)
        if isinstance(outcome, Failure):
            return self._take_refusal(outcome)
        self._reconnection.opened(self._session.clock.now())
        self._answer = outcome
        head = outcome.head
        if self._is_of_another_attempt(head):
            rest = self._begin_anew()
            if call.headers:
                self._release()
            return rest
        # A server that takes no Range begins at the beginning.
        self._passes_over = self._offset if head.status != 206 else 0
        return ""

    def _read(self, answer: StreamedAnswer) -> str:
        self._session.check_usable()
        try:
            chunk = answer.read(self._session.settings.timeout)
        except NodusError as exc:
            # A job may be silent for long, and its output has no sign of life of its own.
            level = logging.DEBUG if isinstance(exc, APITimeoutError) else logging.INFO
            logger.log(level, "the output of job %s broke off, and is resumed: %s", self._job_id, exc)
            self._release()
            self._pause_seconds = self._reconnection.after_end(self._session.clock.now(), None)
            return ""
        if chunk is None:
            self._release()
            return self._take_end()
        if self._passes_over:
            passed = chunk[: self._passes_over]
            self._passes_over -= len(passed)
            chunk = chunk[len(passed) :]
        self._offset += len(chunk)
        if chunk:
            self._reconnection.progressed()
        return self._decoder.decode(chunk)

    def _take_refusal(self, failure: Failure) -> str:
        error = failure.error
        if error.status_code == 416:
            # Nothing more so far; or, where it is another placement's by now, less: the whole of it will tell.
            self._reads_whole = True
            return self._take_end()
        if has_no_endpoint(error):
            raise type(error)(
                f"This server has no output to follow: GET /v1/jobs/{self._job_id}/logs was answered with "
                f"HTTP {error.status_code}.",
                code="logs_unsupported",
                status_code=error.status_code,
                request_id=error.request_id,
                payload=error.payload,
                attempts=1,
            )
        now = self._session.clock.now()
        pause = self._reconnection.after_failure(failure, now, submitted_at=self._submitted_at)
        error.attempts = 1
        if pause is None:
            raise error
        self._pause_seconds = pause
        logger.info("the output of job %s cannot be had, again in %.1f s: %s", self._job_id, pause, error)
        return ""

    def _take_end(self) -> str:
        """All that there is was read: there will be no more where the job was over before."""
        if self._was_terminal:
            self._is_over = True
            return self._decoder.decode(b"", final=True)
        session = self._session
        deadline = session.clock.now() + session.settings.timeout
        outcome = session.attempt(_calls.get_job(self._job_id), deadline=deadline)
        if isinstance(outcome, Reply):
            self._was_terminal = _http.parse(outcome, JobView).is_terminal
        if not self._was_terminal:
            self._pause_seconds = DEFAULT_POLL_SECONDS
        return ""

    def _is_of_another_attempt(self, head: Reply) -> bool:
        before, self._attempt = self._attempt, head.headers.get(ATTEMPT_HEADER, self._attempt)
        return before is not None and before != self._attempt

    def _begin_anew(self) -> str:
        self._offset = self._passes_over = 0
        rest = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return rest

    def _release(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._job_id}>"

    def __del__(self) -> None:
        answer: StreamedAnswer | None = getattr(self, "_answer", None)
        if answer is not None:
            self._session.forget(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


LogStream.__module__ = "nodus"
