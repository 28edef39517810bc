# Generated from src/nodus/_async/event_stream.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""Following jobs live: one connection, reopened when it drops, with no event missed or repeated."""

from __future__ import annotations

from collections import deque

from .. import _calls, _http
from .._concurrency import Limiter
from .._errors import ConfigurationError, Failure, NodusError
from .._http import Response
from .._logs import logger
from .._models import JobView
from .._poll import DEFAULT_POLL_SECONDS
from .._reconnect import (
    CATCHING_UP_SECONDS,
    LATEST,
    Progress,
    has_moved,
    has_no_endpoint,
    is_about,
    is_event_stream,
    is_one_too_many,
    parse_event,
)
from .._resources import JobEvent
from .._sse import EventStreamParser, ServerSentEvent
from .live_stream import LiveStream
from .polled_events import PolledAllEvents, PolledEvents, PolledJobEvents
from .session import Session
from .stream import StreamedResponse


class EventStream(LiveStream):
    """The transitions of a job, or of all the customer's jobs, in order, as they happen.

    Iterate over it. A connection that drops, or is silent for the client's `timeout` (servers send a heartbeat every
    15 s), is reopened after the last event, so that no event is missed or repeated. The stream of one job ends with
    the job; that of all jobs goes on until you leave it. While the control plane is unreachable the stream keeps
    trying, for 15 minutes or for the client's `total_timeout`.

    You can leave the loop at any time. As a context manager, or with `close()`, the stream gives its connection back
    at once; otherwise the client takes it back with its next request.

    A server without event streams, or one that allows no more of them (`too_many_streams`), is polled every 2 s
    instead; transitions that fall between two polls are missed.
    """

    def __init__(
        self,
        session: Session,
        *,
        job_id: str | None = None,
        after: str | None = None,
        submitted_at: float | None = None,
    ) -> None:
        super().__init__(session, submitted_at=submitted_at)
        self._job_id = job_id
        self._progress = Progress(job_id, after)
        self._ready: deque[JobEvent] = deque()
        self._given_id = after
        self._parser = EventStreamParser()
        self._polled: PolledEvents | None = None
        self._brought_news = False
        self._gives_way = False
        self._target: JobView | None = None  # what a stream without a place of its own has to catch up with

    @property
    def last_event_id(self) -> str | None:
        """Where to resume, in another process too: pass it as `after=`. None for the beginning."""
        return self._given_id

    def __iter__(self) -> EventStream:
        return self

    def __next__(self) -> JobEvent:
        while self._is_closed or not self._ready:
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

    def _advance(self) -> None:
        """Take one step: wait, open a connection, or read from it."""
        if self._response is not None:
            self._read(self._response)
            return
        self._pause()
        if self._polled is not None:
            self._ready.extend(self._polled.poll())
            self._is_over = self._polled.is_over
        elif self._job_id is not None:
            self._open_for_job(self._job_id)
        elif self._session.can_spare_a_connection:
            self._open()
        else:
            self._fall_back()

    def _open_for_job(self, job_id: str) -> None:
        """Open a connection if a place is free; otherwise poll, and open one for a moment if the job has moved."""
        if self._target is not None:
            place = self._session.take_stream_turn()
            if place is not None:
                self._open(place)
            else:
                self._come_again(Failure(_http.no_place(_calls.job_events(job_id, after=None))))
            return
        place = self._session.take_stream_place()
        if place is not None:
            self._open(place)
            return
        outcome = self._poll_job(job_id)
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
            if has_no_endpoint(outcome.error) or is_one_too_many(outcome.error):
                self._fall_back()
            else:
                self._come_again(outcome)
            return
        self._response = outcome
        self._gives_way = place is not None and self._target is None
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

    def _read(self, response: StreamedResponse) -> None:
        self._session.check_usable()
        gap_seconds = self._session.settings.timeout
        if self._target is not None:
            gap_seconds = min(gap_seconds, CATCHING_UP_SECONDS)
        try:
            chunk = response.read(gap_seconds)
        except NodusError as exc:
            logger.info("event stream interrupted, resuming: %s", exc)
            self._break_off(exc)
            return
        if chunk is None:
            self._end()
            return
        try:
            events = self._parser.feed(chunk)
        except ValueError as exc:
            raise _http.invalid_response(response.head, str(exc)) from None
        for event in events:
            self._take(event, response.head)
        if self._parser.last_event_id:
            self._progress.last_id = self._parser.last_event_id
            if not self._ready:
                self._given_id = self._progress.last_id
        if self._target is not None and not has_moved(self._target, self._progress.last):
            self._target = None
            self._pause_seconds = DEFAULT_POLL_SECONDS
            self._release()
        elif self._is_over or (self._gives_way and self._session.is_stream_place_wanted):
            self._release()

    def _take(self, received: ServerSentEvent, head: Response) -> None:
        event = parse_event(received, head)
        if event is None or self._is_over:
            return
        if not is_about(event, self._job_id):
            logger.warning("ignored an event of another job on the stream of job %s", self._job_id)
            return
        if not self._progress.is_new(event):
            return
        self._ready.append(event)
        self._brought_news = True
        self._reconnection.progressed()
        self._is_over = self._job_id is not None and event.is_terminal

    def _break_off(self, error: NodusError) -> None:
        """Give up a connection that broke off.

        Raises:
            NodusError: `error`, if connections have done nothing else for too long.
        """
        self._release()
        self._target = None
        now = self._session.clock.now()
        pause = self._reconnection.after_break(error, now, self._parser.retry_seconds)
        if pause is None:
            error.attempts = 1
            raise error
        self._pause_seconds = pause

    def _end(self) -> None:
        """Give up a connection that will bring nothing more."""
        self._release()
        self._target = None
        self._pause_seconds = self._reconnection.after_end(self._session.clock.now(), self._parser.retry_seconds)
        if self._job_id is None or self._brought_news:
            return
        # Either the server is stopping, or the job had already ended; the latter is certain if it was terminal before.
        if self._was_terminal:
            self._is_over = True
            return
        outcome = self._poll_job(self._job_id)
        self._was_terminal = isinstance(outcome, JobView) and outcome.is_terminal

    def _poll_job(self, job_id: str) -> JobView | Failure:
        outcome = self._session.attempt_in_turn(_calls.get_job(job_id))
        return _http.parse(outcome, JobView) if isinstance(outcome, Response) else outcome

    def _come_again(self, failure: Failure) -> None:
        """Wait before the next attempt.

        Raises:
            NodusError: the failure is permanent, or has lasted too long.
        """
        now = self._session.clock.now()
        pause = self._reconnection.after_failure(failure, now, submitted_at=self._submitted_at)
        failure.error.attempts = 1
        if pause is None:
            raise failure.error
        self._pause_seconds = pause
        logger.info("could not open an event stream, trying again in %.1f s: %s", pause, failure.error)

    def _fall_back(self) -> None:
        logger.info("no event stream available, polling instead")
        if self._job_id is None:
            self._polled = PolledAllEvents(
                self._session,
                self._progress,
                unreachable_seconds=self._unreachable_seconds,
                only_later=self._progress.last_id == LATEST,
            )
        else:
            self._polled = PolledJobEvents(
                self._session,
                self._progress,
                unreachable_seconds=self._unreachable_seconds,
                job_id=self._job_id,
                submitted_at=self._submitted_at,
            )

    def __repr__(self) -> str:
        what = "all jobs" if self._job_id is None else self._job_id
        return f"<{type(self).__name__} of {what}>"


EventStream.__module__ = "nodus"
