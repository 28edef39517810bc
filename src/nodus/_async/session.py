"""Carries out one logical call: sign, send, retry. The only loop around HTTP."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from .. import _bodies, _failures, _http
from .._calls import Call
from .._concurrency import AsyncClock, AsyncLimiter, async_misfit
from .._config import Settings
from .._errors import ConfigurationError, Failure, NodusError
from .._handles import ClientBound
from .._hooks import ResponseEvent, RetryEvent, is_hook
from .._http import Response
from .._httpx import httpx
from .._logs import logger
from .._reconnect import CATCHING_UP_SECONDS
from .._requests import Request, RequestBuilder
from .._retry import RetryState
from .._signing import Signer
from .pool import AsyncOpenResponse, AsyncPool, closed_error
from .stream import AsyncStreamedResponse

OnRetry = Callable[[RetryEvent], object]
OnResponse = Callable[[ResponseEvent], object]

_Result = TypeVar("_Result")


class AsyncHTTPClient(Protocol):
    """What `http_client=` must offer: httpx's `send`, which takes an `httpx.Request` and returns a response, body read.

    The types are left open, because no type of httpx is part of the public interface.
    """

    async def send(self, request: Any, *, follow_redirects: bool) -> Any: ...


class AsyncSession(ClientBound):
    """Carries out calls under one client's settings.

    Args:
        settings: checked settings.
        http_client: an object with httpx's `send`, to use instead of the pool.
        pool: a pool to share with another session.
        clock: the time, and how to wait.
        rng: the source of jitter.
        on_retry: called before each retry.
        on_response: called after each response.

    Raises:
        ConfigurationError: (`invalid_configuration`) `http_client` cannot send, or a hook cannot be called.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        http_client: AsyncHTTPClient | None = None,
        pool: AsyncPool | None = None,
        clock: AsyncClock | None = None,
        rng: random.Random | None = None,
        on_retry: OnRetry | None = None,
        on_response: OnResponse | None = None,
    ) -> None:
        wanted = "" if http_client is None else async_misfit(http_client)
        if wanted:
            raise ConfigurationError(f"`http_client` must be {wanted}, not {http_client!r:.100}.")
        for name, hook in (("on_retry", on_retry), ("on_response", on_response)):
            if not is_hook(hook):
                raise ConfigurationError(f"`{name}` must be a plain function: a coroutine function would never run.")
        self.settings = settings
        self.clock: AsyncClock = AsyncClock() if clock is None else clock
        self.rng: random.Random = random.Random() if rng is None else rng
        self._owns_pool = pool is None
        self._pool = AsyncPool(max_connections=settings.max_connections, clock=self.clock) if pool is None else pool
        self._closed = False
        self._http_client = http_client
        self._on_retry = on_retry
        self._on_response = on_response
        signer = None if settings.signing_secret is None else Signer(settings.signing_secret)
        self._builder = RequestBuilder(settings, signer)

    def sharing_pool(self, settings: Settings) -> AsyncSession:
        """Return a session with other settings and the same pool, clock and hooks."""
        return AsyncSession(
            settings,
            http_client=self._http_client,
            pool=self._pool,
            clock=self.clock,
            rng=self.rng,
            on_retry=self._on_retry,
            on_response=self._on_response,
        )

    def serves_as(self, other: AsyncSession) -> bool:
        """Whether the same job is behind an id in both."""
        return self.settings.base_url == other.settings.base_url

    async def call(self, call: Call, read: Callable[[Response], _Result]) -> _Result:
        """Make a call, retry it where that may help, and read the first successful response.

        Args:
            call: what to ask.
            read: turns the response into the result.

        Raises:
            NodusError: the last attempt's error, with what is known of all attempts.
        """
        response = await self._send(call)
        try:
            return _read(response, read)
        except NodusError as exc:
            exc.idempotency_key = call.idempotency_key
            exc.outcome_unknown = call.method != "GET"
            raise

    async def attempt(self, call: Call, *, deadline: float, number: int = 1) -> Response | Failure:
        """Send a call once; return the response, or how it failed.

        Args:
            call: what to ask.
            deadline: the clock reading at which the attempt must be over.
            number: 1 for the first attempt at this call.
        """
        self.check_usable()
        started = self.clock.now()
        request = self._builder.build(call, deadline=deadline, number=number, now=self.clock.unix_time())
        try:
            if self._http_client is None:
                response = await self._pool.fetch(request)
            else:
                response = await self._fetch_through(self._http_client, request, deadline - started)
        except ConfigurationError:
            raise
        except NodusError as exc:
            return Failure(exc)
        except MemoryError as exc:
            return Failure(_http.out_of_memory(call, exc))
        except Exception as exc:
            failure = _failures.failure_from_exception(exc, call)
            logger.debug("%s %s: %s", call.method, call.path, failure.error)
            return failure
        self._tell_of(call, response, self.clock.now() - started)
        if response.is_success:
            return response
        return _http.failure_from_response(response, call)

    async def open(self, call: Call, *, place: AsyncLimiter | None = None) -> AsyncStreamedResponse | Failure:
        """Send a call once; return the response as soon as it begins, or how it failed.

        Args:
            call: what to ask.
            place: the place that the response releases when it is closed; released here if the call fails.

        Raises:
            ConfigurationError: (`no_streaming`) the injected `http_client` cannot stream a response.
        """
        clock, timeout = self.clock, self.settings.timeout
        opened: AsyncStreamedResponse | None = None
        try:
            self.check_usable()
            started = clock.now()
            request = self._builder.build(call, deadline=started + timeout, now=clock.unix_time())
            try:
                response = await self._begin(request, timeout)
                head = Response(response.status_code, httpx.Headers(response.headers), secrets=request.secrets)
                refusal = _bodies.refusal_of_stream(head.headers)
                if not head.is_success:
                    head = replace(head, content=await _content_of_error(response))
                elif refusal is not None:
                    await response.aclose()
                    return Failure(_bodies.unusable(head.status, refusal, head.request_id))
            except ConfigurationError:
                raise
            except NodusError as exc:
                return Failure(exc)
            except Exception as exc:
                return _failures.failure_from_exception(exc, call)
            try:
                self._tell_of(call, head, clock.now() - started)
            except BaseException:
                await response.aclose()
                raise
            if not head.is_success:
                return _http.failure_from_response(head, call)
            opened = AsyncStreamedResponse(response, call, head, clock, self._pool.responses, place)
            return opened
        finally:
            if opened is None and place is not None:
                place.release()

    async def take_stream_place(self) -> AsyncLimiter | None:
        """Take one of the places for following single jobs; None if all are taken.

        They limit this session's streams with an injected client too.
        """
        return await (await self._pool.stream_places()).take()

    async def take_stream_turn(self) -> AsyncLimiter | None:
        """Wait for a place to follow a single job for a moment; None if none came free for too long."""
        places = await self._pool.stream_places()
        return await places.take_turn(self.settings.timeout + CATCHING_UP_SECONDS)

    @property
    def is_stream_place_wanted(self) -> bool:
        """Whether a stream that holds a place should give way to another."""
        return self._pool.is_stream_place_wanted

    async def attempt_in_turn(self, call: Call) -> Response | Failure:
        """Like `attempt`, for a stream of a single job: in one of the places that such streams have."""
        place = await self.take_stream_place() or await self.take_stream_turn()
        if place is None:
            return Failure(_http.no_place(call))
        try:
            return await self.attempt(call, deadline=self.clock.now() + self.settings.timeout)
        finally:
            place.release()

    @property
    def can_spare_a_connection(self) -> bool:
        """Whether one connection can be held for a long time and others remain for ordinary calls."""
        return self._http_client is not None or self.settings.max_connections > 1

    def forget(self, response: AsyncStreamedResponse) -> None:
        """Take over a response that its reader abandoned, to be closed later."""
        self._pool.forget(response)

    async def aclose(self) -> None:
        """Refuse further calls, and close the pool unless it belongs to another session.

        An injected client is left for its owner to close.
        """
        self._closed = True
        if self._owns_pool:
            await self._pool.aclose()

    def check_usable(self) -> None:
        """Check that a call may start here.

        Raises:
            ConfigurationError: `client_closed`, or `wrong_event_loop`.
        """
        if self._closed:
            raise closed_error()
        if self._http_client is None:
            self._pool.check_usable()

    @property
    def is_closed(self) -> bool:
        return self._closed

    @property
    def is_leaking(self) -> bool:
        """Whether connections would be left open if this session were forgotten now."""
        return self._owns_pool and not self._closed and self._pool.was_used

    async def _send(self, call: Call) -> Response:
        settings, clock = self.settings, self.clock
        total = settings.total_timeout
        retry = RetryState(
            max_retries=settings.max_retries,
            deadline=None if total is None else clock.now() + total,
            repeatable=call.repeatable,
            rng=self.rng,
        )
        while True:
            deadline = retry.attempt_deadline(clock.now(), settings.timeout)
            try:
                outcome = await self.attempt(call, deadline=deadline, number=retry.attempts + 1)
            except NodusError as exc:
                # The client was closed, perhaps since an attempt that may have been taken.
                _note_what_is_known(exc, call, retry)
                raise
            if isinstance(outcome, Response):
                return outcome
            delay = retry.delay_after(outcome, clock.now())
            error = outcome.error if delay is not None or retry.error is None else retry.error
            _note_what_is_known(error, call, retry)
            if delay is None:
                raise error
            self._announce(RetryEvent(call.method, call.path, retry.attempts, settings.max_retries, delay, error))
            await clock.sleep(delay)

    async def _fetch_through(self, http_client: AsyncHTTPClient, request: Request, seconds: float) -> Response:
        """Send through an injected client, and take the body that it has read."""
        response = await self._send_through(http_client, request, seconds)
        # A client of the user's own may return a plain dict, whose names are case-sensitive.
        headers, content = httpx.Headers(response.headers), _content_of(response)
        if len(content) > request.max_bytes:
            problem = f"a body of more than {request.max_bytes >> 20} MiB"
            raise _bodies.unusable(response.status_code, problem, headers.get("x-request-id"))
        return Response(response.status_code, headers, content, request.number, request.secrets)

    async def _begin(self, request: Request, seconds: float) -> AsyncOpenResponse | httpx.Response:
        if self._http_client is None:
            request.repeatable = True
            return await self._pool.open(request)
        if not _takes_stream(self._http_client.send):
            raise ConfigurationError(
                "This `http_client` cannot stream: its `send` does not take `stream=True`.", code="no_streaming"
            )
        return await self._send_through(self._http_client, request, seconds, stream=True)

    async def _send_through(
        self, http_client: AsyncHTTPClient, request: Request, seconds: float, **options: bool
    ) -> httpx.Response:
        """Send through an injected client; its hooks may raise for a status, which is a response all the same.

        Raises:
            ConfigurationError: (`client_closed`) its owner has closed it.
        """
        send: Any = http_client.send
        message = httpx.Request(
            request.method,
            request.url,
            headers=request.headers,
            stream=request.body,
            extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), max(seconds, 0.0))},
        )
        try:
            response: httpx.Response = await send(message, follow_redirects=False, **options)
        except httpx.HTTPStatusError as exc:
            return exc.response
        except RuntimeError as exc:
            if getattr(http_client, "is_closed", False) is not True:
                raise
            raise ConfigurationError("The given `http_client` is closed.", code="client_closed") from exc
        return response

    def _tell_of(self, call: Call, response: Response, elapsed: float) -> None:
        logger.debug("%s %s: HTTP %d", call.method, call.path, response.status)
        if self._on_response is not None:
            self._on_response(
                ResponseEvent(
                    call.method,
                    call.path,
                    response.status,
                    response.headers,
                    response.request_id,
                    response.attempts,
                    elapsed,
                )
            )

    def _announce(self, event: RetryEvent) -> None:
        error = event.error
        reason = error.code if error.status_code is None else f"{error.status_code} {error.code}"
        logger.info("retry %d of %d in %.1f s: %s", event.retry, event.max_retries, event.delay_seconds, reason)
        if self._on_retry is not None:
            self._on_retry(event)


def _read(response: Response, read: Callable[[Response], _Result]) -> _Result:
    try:
        return read(response)
    except MemoryError as exc:
        raise _http.invalid_response(response, _bodies.NOT_ENOUGH_MEMORY) from exc


def _note_what_is_known(error: NodusError, call: Call, retry: RetryState) -> None:
    error.attempts = retry.attempts
    error.idempotency_key = call.idempotency_key
    error.outcome_unknown = retry.outcome_unknown


def _takes_stream(send: Callable[..., object]) -> bool:
    """Whether an injected client's `send` has the `stream` of httpx's."""
    try:
        parameters = inspect.signature(send).parameters
    except ValueError:
        return False
    return "stream" in parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values())


async def _content_of_error(response: AsyncOpenResponse | httpx.Response) -> bytes:
    """Read the body of an error that was opened as a stream, and close it; empty if it cannot be used."""
    try:
        if response.is_closed and isinstance(response, httpx.Response):
            return _content_of(response)
        body = _bodies.BodyReader(response.headers, _bodies.MAX_ERROR_BYTES)
        stream: Any = response.stream
        async for chunk in stream:
            body.feed(chunk)
            if body.problem is not None:
                break
        return body.finish()
    finally:
        await response.aclose()


def _content_of(response: httpx.Response) -> bytes:
    """The body; empty if a hook raised for the status before it was read."""
    try:
        return response.content
    except httpx.ResponseNotRead:
        if response.is_success:
            raise
        return b""
