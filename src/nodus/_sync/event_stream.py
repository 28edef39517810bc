# Generated from src/nodus/_async/event_stream.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""Following jobs as they go: one connection, opened again when it drops, and no event missed or given twice."""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING

from .. import _calls, _http
from .._concurrency import Limiter
from .._errors import ConfigurationError, NodusError
from .._http import Reply
from .._live import LATEST, Progress, Reconnection, has_moved, has_no_endpoint, is_event_stream, parse_event
from .._logs import logger
from .._models import JobView
from .._poll import DEFAULT_POLL_SECONDS, DEFAULT_UNREACHABLE_SECONDS
from .._records import JobEvent
from .._retry import Failure
from .._sse import EventStreamParser, ServerSentEvent
from .looks import AllLooks, JobLooks, Looks
from .session import Session
from .stream import StreamedAnswer

if TYPE_CHECKING:
    from typing_extensions import Self

CATCHING_UP_SECONDS = 5.0
"""How long a stream that has no place of its own may be read without a word."""


class EventStream:
    """The transitions of a job, or of all the customer's jobs, in their order, as they happen.

    Iterate over it. A connection that drops, or is silent for the client's `timeout` (a server shows every 15 s that it
    is there), is opened again behind the last event: none is missed, none comes twice. The stream of a job ends with
    the job; that of all jobs goes on until it is left. With a control plane that is away it goes on trying, for
    15 minutes or the client's `total_timeout`.

    The loop can be left half-way. As a context manager, or with `close()`, the connection is given back at once;
    otherwise with the client's next request.

    A server without event streams is looked at every 2 s instead: what comes and goes between two looks is not told.
    """

    def __init__(
        self,
        session: Session,
        *,
        job_id: str | None = None,
        after: str | None = None,
        submitted_at: float | None = None,
    ) -> None:
        total = session.settings.total_timeout
        self._unreachable_seconds = DEFAULT_UNREACHABLE_SECONDS if total is None else total
        self._session = session
        self._job_id = job_id
        self._submitted_at = submitted_at
        self._progress = Progress(job_id, after)
        self._reconnection = Reconnection(unreachable_seconds=self._unreachable_seconds, rng=session.rng)
        self._ready: deque[JobEvent] = deque()
        self._given_id = after
        self._answer: StreamedAnswer | None = None
        self._parser = EventStreamParser()
        self._looks: Looks | None = None
        self._pause_seconds = 0.0
        self._brought_news = False
        self._was_terminal = False
        self._target: JobView | None = None  # what a stream without a place of its own is to catch up with
        self._is_over = False

    @property
    def last_event_id(self) -> str | None:
        """What to resume behind, in another process too: pass it as `after=`. None for the beginning."""
        return self._given_id

    def __iter__(self) -> EventStream:
        return self

    def __next__(self) -> JobEvent:
        while not self._ready:
            if self._is_over:
                raise StopIteration
            try:
                self._advance()
            except BaseException:
                self._release()
                raise
        event = self._ready.popleft()
        self._given_id = event.id or self._given_id
        return event

    def close(self) -> None:
        """Give the connection back. Iterating afterwards gives nothing more."""
        self._is_over = True
        self._ready.clear()
        self._release()

    def _advance(self) -> None:
        """Take one step: wait, open a connection, or read from it."""
        if self._answer is not None:
            self._read(self._answer)
            return
        if self._pause_seconds:
            pause, self._pause_seconds = self._pause_seconds, 0.0
            self._session.clock.sleep(pause)
        if self._looks is not None:
            self._ready.extend(self._looks.look())
            self._is_over = self._looks.is_over
        elif self._job_id is not None:
            self._open_for_job(self._job_id)
        elif self._session.can_spare_a_connection:
            self._open()
        else:
            self._fall_back()

    def _open_for_job(self, job_id: str) -> None:
        """Open a connection where there is a place; else look whether it is worth while to do so for a moment."""
        if self._target is not None:
            self._open()
            return
        place = self._session.take_stream_place()
        if place is not None:
            self._open(place)
            return
        outcome = self._look(job_id)
        if isinstance(outcome, Failure):
            self._come_again(outcome)
        elif has_moved(outcome, self._progress.last):
            self._target = outcome
        else:
            self._pause_seconds = DEFAULT_POLL_SECONDS

    def _open(self, place: Limiter | None = None) -> None:
        progress = self._progress
        if self._job_id is not None:
            call = _calls.job_events(self._job_id, after=progress.last_id)
        else:
            call = _calls.all_events(after=progress.last_id, resumes=bool(self._parser.last_event_id))
        try:
            outcome = self._session.open(call, place=place)
        except ConfigurationError as exc:
            if exc.code != "no_streaming":
                raise
            self._fall_back()
            return
        if isinstance(outcome, Failure):
            if has_no_endpoint(outcome.error):
                self._fall_back()
            else:
                self._come_again(outcome)
            return
        self._answer = outcome
        self._brought_news = False
        if outcome.head.status == 204:  # "nothing will ever come", says the WHATWG
            self._is_over = True
            self._release()
        elif is_event_stream(outcome.head):
            self._parser = EventStreamParser(self._parser.last_event_id)
            self._reconnection.opened(self._session.clock.now())
        else:
            self._release()
            self._fall_back()

    def _read(self, answer: StreamedAnswer) -> None:
        self._session.check_usable()
        gap_seconds = self._session.settings.timeout
        if self._target is not None:
            gap_seconds = min(gap_seconds, CATCHING_UP_SECONDS)
        try:
            chunk = answer.read(gap_seconds)
        except NodusError as exc:
            logger.info("an event stream broke off, and is resumed: %s", exc)
            self._end(answer, is_whole=False)
            return
        if chunk is None:
            self._end(answer, is_whole=True)
            return
        try:
            events = self._parser.feed(chunk)
        except ValueError as exc:
            raise _http.invalid_response(answer.head, str(exc)) from None
        for event in events:
            self._take(event, answer.head)
        if self._parser.last_event_id:
            self._progress.last_id = self._parser.last_event_id
            if not self._ready:
                self._given_id = self._progress.last_id
        if self._target is not None and not has_moved(self._target, self._progress.last):
            self._target = None
            self._pause_seconds = DEFAULT_POLL_SECONDS
            self._release()
        elif self._is_over:
            self._release()

    def _take(self, received: ServerSentEvent, head: Reply) -> None:
        event = parse_event(received, head)
        if event is None or self._is_over or not self._progress.is_new(event):
            return
        self._ready.append(event)
        self._brought_news = True
        self._reconnection.progressed()
        self._is_over = self._job_id is not None and event.is_terminal

    def _end(self, answer: StreamedAnswer, *, is_whole: bool) -> None:
        """Give up a connection that has nothing more to tell."""
        self._release()
        self._target = None
        clock = self._session.clock
        self._pause_seconds = self._reconnection.after_end(clock.now(), self._parser.retry_seconds)
        if self._job_id is None or not is_whole or self._brought_news:
            return
        # Either the server stops, or the job had ended before. The latter is certain where it was known before.
        if self._was_terminal:
            self._is_over = True
            return
        outcome = self._look(self._job_id)
        self._was_terminal = isinstance(outcome, JobView) and outcome.is_terminal

    def _look(self, job_id: str) -> JobView | Failure:
        session = self._session
        deadline = session.clock.now() + session.settings.timeout
        outcome = session.attempt(_calls.get_job(job_id), deadline=deadline)
        return _http.parse(outcome, JobView) if isinstance(outcome, Reply) else outcome

    def _come_again(self, failure: Failure) -> None:
        """Wait before the next attempt.

        Raises:
            NodusError: that of the failure, where it will not pass or has lasted for too long.
        """
        now = self._session.clock.now()
        pause = self._reconnection.after_failure(failure, now, submitted_at=self._submitted_at)
        failure.error.attempts = 1
        if pause is None:
            raise failure.error
        self._pause_seconds = pause
        logger.info("an event stream could not be opened, again in %.1f s: %s", pause, failure.error)

    def _fall_back(self) -> None:
        logger.info("there is no event stream to be had: looking at jobs now and then")
        if self._job_id is None:
            self._looks = AllLooks(
                self._session,
                self._progress,
                unreachable_seconds=self._unreachable_seconds,
                only_later=self._progress.last_id == LATEST,
            )
        else:
            self._looks = JobLooks(
                self._session,
                self._progress,
                unreachable_seconds=self._unreachable_seconds,
                job_id=self._job_id,
                submitted_at=self._submitted_at,
            )

    def _release(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.close()

    def __repr__(self) -> str:
        what = "all jobs" if self._job_id is None else self._job_id
        return f"<{type(self).__name__} of {what}>"

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


EventStream.__module__ = "nodus"
