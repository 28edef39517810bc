"""Following jobs live: one connection, reopened when it drops, with no event missed or repeated."""

from __future__ import annotations

from collections import deque

from .. import _calls, _http
from .._concurrency import AsyncLimiter
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
from .live_stream import AsyncLiveStream
from .polled_events import AsyncPolledAllEvents, AsyncPolledEvents, AsyncPolledJobEvents
from .session import AsyncSession
from .stream import AsyncStreamedResponse


class AsyncEventStream(AsyncLiveStream):
    """The transitions of a job, or of all the customer's jobs, in order, as they happen.

    Iterate over it. A connection that drops, or is silent for the client's `timeout` (servers send a heartbeat every
    15 s), is reopened after the last event, so that no event is missed or repeated. The stream of one job ends with
    the job; that of all jobs goes on until you leave it. While the control plane is unreachable the stream keeps
    trying, for 15 minutes or for the client's `total_timeout`.

    You can leave the loop at any time. As a context manager, or with `aclose()`, the stream gives its connection back
    at once; otherwise the client takes it back with its next request.

    A server without event streams, or one that allows no more of them (`too_many_streams`), is polled every 2 s
    instead; transitions that fall between two polls are missed.
    """

    def __init__(
        self,
        session: AsyncSession,
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
        self._polled: AsyncPolledEvents | None = None
        self._brought_news = False
        self._gives_way = False
        self._target: JobView | None = None  # what a stream without a place of its own has to catch up with

    @property
    def last_event_id(self) -> str | None:
        """Where to resume, in another process too: pass it as `after=`. None for the beginning."""
        return self._given_id

    def __aiter__(self) -> AsyncEventStream:
        return self

    async def __anext__(self) -> JobEvent:
        while self._is_closed or not self._ready:
            if self._is_over:
                raise StopAsyncIteration
            try:
                await self._advance()
            except BaseException:
                await self._release()
                raise
        event = self._ready.popleft()
        self._given_id = event.id or self._given_id
        return event

    async def _advance(self) -> None:
        """Take one step: wait, open a connection, or read from it."""
        if self._response is not None:
            await self._read(self._response)
            return
        await self._pause()
        if self._polled is not None:
            self._ready.extend(await self._polled.poll())
            self._is_over = self._polled.is_over
        elif self._job_id is not None:
            await self._open_for_job(self._job_id)
        elif self._session.can_spare_a_connection:
            await self._open()
        else:
            self._fall_back()

    async def _open_for_job(self, job_id: str) -> None:
        """Open a connection if a place is free; otherwise poll, and open one for a moment if the job has moved."""
        if self._target is not None:
            place = await self._session.take_stream_turn()
            if place is not None:
                await self._open(place)
            else:
                self._come_again(Failure(_http.no_place(_calls.job_events(job_id, after=None))))
            return
        place = await self._session.take_stream_place()
        if place is not None:
            await self._open(place)
            return
        outcome = await self._poll_job(job_id)
        if isinstance(outcome, Failure):
            self._come_again(outcome)
        elif has_moved(outcome, self._progress.last):
            self._target = outcome
        else:
            self._pause_seconds = DEFAULT_POLL_SECONDS

    async def _open(self, place: AsyncLimiter | None = None) -> None:
        progress = self._progress
        if self._job_id is not None:
            call = _calls.job_events(self._job_id, after=progress.last_id)
        else:
            call = _calls.all_events(after=progress.last_id, resumes=bool(self._parser.last_event_id))
        try:
            outcome = await self._session.open(call, place=place)
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
            await self._release()
        elif is_event_stream(outcome.head):
            self._parser = EventStreamParser(self._parser.last_event_id)
            self._reconnection.opened(self._session.clock.now())
        else:
            await self._release()
            self._fall_back()

    async def _read(self, response: AsyncStreamedResponse) -> None:
        self._session.check_usable()
        gap_seconds = self._session.settings.timeout
        if self._target is not None:
            gap_seconds = min(gap_seconds, CATCHING_UP_SECONDS)
        try:
            chunk = await response.read(gap_seconds)
        except NodusError as exc:
            logger.info("event stream interrupted, resuming: %s", exc)
            await self._break_off(exc)
            return
        if chunk is None:
            await self._end()
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
            await self._release()
        elif self._is_over or (self._gives_way and self._session.is_stream_place_wanted):
            await self._release()

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

    async def _break_off(self, error: NodusError) -> None:
        """Give up a connection that broke off.

        Raises:
            NodusError: `error`, if connections have done nothing else for too long.
        """
        await self._release()
        self._target = None
        now = self._session.clock.now()
        pause = self._reconnection.after_break(error, now, self._parser.retry_seconds)
        if pause is None:
            error.attempts = 1
            raise error
        self._pause_seconds = pause

    async def _end(self) -> None:
        """Give up a connection that will bring nothing more."""
        await self._release()
        self._target = None
        self._pause_seconds = self._reconnection.after_end(self._session.clock.now(), self._parser.retry_seconds)
        if self._job_id is None or self._brought_news:
            return
        # Either the server is stopping, or the job had already ended; the latter is certain if it was terminal before.
        if self._was_terminal:
            self._is_over = True
            return
        outcome = await self._poll_job(self._job_id)
        self._was_terminal = isinstance(outcome, JobView) and outcome.is_terminal

    async def _poll_job(self, job_id: str) -> JobView | Failure:
        outcome = await self._session.attempt_in_turn(_calls.get_job(job_id))
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
            self._polled = AsyncPolledAllEvents(
                self._session,
                self._progress,
                unreachable_seconds=self._unreachable_seconds,
                only_later=self._progress.last_id == LATEST,
            )
        else:
            self._polled = AsyncPolledJobEvents(
                self._session,
                self._progress,
                unreachable_seconds=self._unreachable_seconds,
                job_id=self._job_id,
                submitted_at=self._submitted_at,
            )

    def __repr__(self) -> str:
        what = "all jobs" if self._job_id is None else self._job_id
        return f"<{type(self).__name__} of {what}>"


AsyncEventStream.__module__ = "nodus"
