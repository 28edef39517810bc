# Generated from src/nodus/_async/log_stream.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""Following what a job prints, as text, across dropped connections."""

from __future__ import annotations

import codecs
import logging
import math

from .. import _calls, _http
from .._errors import APITimeoutError, Failure, NodusError
from .._http import Response
from .._logs import logger
from .._models import JobView
from .._poll import DEFAULT_POLL_SECONDS
from .._reconnect import CATCHING_UP_SECONDS, has_no_endpoint, is_one_too_many
from .live_stream import LiveStream
from .session import Session
from .stream import StreamedResponse

ATTEMPT_HEADER = "nodus-attempt"
"""Names the placement whose output an answer holds; the output of another placement starts from zero."""


class LogStream(LiveStream):
    """What a job prints, as it prints it, until it is over.

    Iterate over it: each piece is text, cut anywhere but inside a character; bytes that are not UTF-8 become U+FFFD. A
    connection that drops is reopened where it left off. If a supplier loses the job, the output of its next placement
    follows.

    You can leave the loop at any time. As a context manager, or with `close()`, the stream gives its connection back
    at once; otherwise the client takes it back with its next request.
    """

    def __init__(self, session: Session, job_id: str, *, submitted_at: float | None = None) -> None:
        super().__init__(session, submitted_at=submitted_at)
        self._job_id = job_id
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._offset = 0
        self._passes_over = 0
        self._reads_whole = False
        self._attempt: str | None = None
        self._follows = False
        self._follows_from = -math.inf

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

    def _advance(self) -> str:
        """Take one step: wait, open a connection, or read from it; return what could be read."""
        if self._response is not None:
            return self._read(self._response)
        self._pause()
        return self._open()

    def _open(self) -> str:
        # Without a place to hold, read what has been printed so far, and come back for more after a while.
        place = self._session.take_stream_place() if self._may_follow() else None
        self._follows = place is not None
        place = place or self._session.take_stream_turn()
        if place is None:
            call = _calls.follow_logs(self._job_id, offset=self._offset, follow=False)
            return self._take_refusal(Failure(_http.no_place(call)))
        offset, self._reads_whole = (0 if self._reads_whole else self._offset), False
        call = _calls.follow_logs(self._job_id, offset=offset, follow=self._follows)
        outcome = self._session.open(call, place=place)
        if isinstance(outcome, Failure):
            return self._take_refusal(outcome)
        self._reconnection.opened(self._session.clock.now())
        self._response = outcome
        head = outcome.head
        if self._is_of_another_attempt(head):
            rest = self._begin_anew()
            if call.headers:
                self._release()
            return rest
        # A server that ignores Range starts over from the first byte.
        self._passes_over = self._offset if head.status != 206 else 0
        return ""

    def _read(self, response: StreamedResponse) -> str:
        self._session.check_usable()
        gap_seconds = self._session.settings.timeout
        try:
            chunk = response.read(gap_seconds if self._follows else min(gap_seconds, CATCHING_UP_SECONDS))
        except NodusError as exc:
            # A job may print nothing for a long time, and its output carries no heartbeat.
            level = logging.DEBUG if isinstance(exc, APITimeoutError) else logging.INFO
            logger.log(level, "output of job %s interrupted, resuming: %s", self._job_id, exc)
            self._release()
            pause = self._reconnection.after_break(exc, self._session.clock.now())
            if pause is None:
                exc.attempts = 1
                raise
            self._pause_seconds = pause
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
        if self._follows and self._session.is_stream_place_wanted:
            self._release()
        return self._decoder.decode(chunk)

    def _take_refusal(self, failure: Failure) -> str:
        error = failure.error
        if error.status_code == 416:
            # There is nothing more yet; or another placement has printed less so far: reading it whole will tell.
            self._reads_whole = True
            return self._take_end()
        if has_no_endpoint(error):
            raise type(error)(
                f"This server does not serve job output: GET /v1/jobs/{self._job_id}/logs was answered with "
                f"HTTP {error.status_code}.",
                code="logs_unsupported",
                status_code=error.status_code,
                request_id=error.request_id,
                payload=error.payload,
                attempts=1,
            )
        now = self._session.clock.now()
        if self._follows and is_one_too_many(error):
            logger.info("no further stream allowed, reading the output of job %s in turns: %s", self._job_id, error)
            self._follows_from = now + max(error.retry_after or 0.0, DEFAULT_POLL_SECONDS)
            return ""
        pause = self._reconnection.after_failure(failure, now, submitted_at=self._submitted_at)
        error.attempts = 1
        if pause is None:
            raise error
        self._pause_seconds = pause
        logger.info("could not read the output of job %s, trying again in %.1f s: %s", self._job_id, pause, error)
        return ""

    def _take_end(self) -> str:
        """Everything so far was read; if the job had ended before, nothing more will come."""
        if self._was_terminal:
            self._is_over = True
            return self._decoder.decode(b"", final=True)
        outcome = self._session.attempt_in_turn(_calls.get_job(self._job_id))
        if isinstance(outcome, Response):
            self._was_terminal = _http.parse(outcome, JobView).is_terminal
        if not self._was_terminal:
            self._pause_seconds = DEFAULT_POLL_SECONDS
        return ""

    def _may_follow(self) -> bool:
        return self._session.clock.now() >= self._follows_from

    def _is_of_another_attempt(self, head: Response) -> bool:
        before, self._attempt = self._attempt, head.headers.get(ATTEMPT_HEADER, self._attempt)
        return before is not None and before != self._attempt

    def _begin_anew(self) -> str:
        self._offset = self._passes_over = 0
        rest = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return rest

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._job_id}>"


LogStream.__module__ = "nodus"
