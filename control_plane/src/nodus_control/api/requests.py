"""A request as the API's functions see it. Its body is read in the event loop; the functions run in a thread.

There are few threads, because more would only wait for each other. They are shared out by customer (`turns`), so before
a request gets one, its customer is looked up: in what earlier requests left behind (`callers`), which is believed for
this purpose alone, or else in the database.

What is brief, and asks nothing but an SQLite database, has two threads of its own (`BatchExecutor`): one does all
lookups that wait on one connection, the other all that is to be written in one transaction. There a thread for each
request would cost more than the request.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol, TypeVar
from weakref import WeakKeyDictionary

import anyio
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect, Request
from typing_extensions import TypeVarTuple, Unpack

from nodus_core.spec import InvalidSpec, is_idempotency_key
from nodus_ledger.database.database import Database
from nodus_ledger.errors import DatabaseUnavailable, Refused
from nodus_ledger.keys.keys import KeyRecord, Keys

from ..access.client_address import UNKNOWN, client_address
from ..access.rate_limiter import RateLimiter
from ..access.recent_callers import Caller, Callers, bearer_key
from ..concurrency.batch_executor import BatchExecutor, TurnDidNotCome
from ..concurrency.threads import run_in_thread
from ..concurrency.turns import Turns
from ..concurrency.wakeups import loop_here
from ..errors import ApiError, invalid_idempotency_key, translate
from ..trouble import Trouble

MAX_BODY_BYTES = 1024 * 1024
THREADS = 16
"""So many for requests that only read, and so many again for those that write: writers may wait for each other."""

MOST_THREADS = 2 * THREADS + 2
"""Of one control plane, with those of its executors."""

LONGEST_WAIT_SECONDS = 5.0
BUSY_RETRY_SECONDS = 2

READING = ("GET", "HEAD")
"""The methods that change nothing."""

_Result = TypeVar("_Result")
_Arguments = TypeVarTuple("_Arguments")


class Parts(Protocol):
    """What of a control plane is needed to read a request, and to run it in its turn."""

    callers: Callers
    database: Database
    database_trouble: Trouble
    keys: Keys
    limits: RateLimiter

    @property
    def asks_others(self) -> bool:
        """Whether requests also wait for something else than the database, such as Redis."""
        ...


_Parts = TypeVar("_Parts", bound=Parts)

_UNREAD: Any = object()
# By event loop. To ask the loop for a variable of its own would cost more.
_loops_threads: WeakKeyDictionary[Any, WeakKeyDictionary[Parts, _Threads]] = WeakKeyDictionary()


class _Places:
    """Some threads, and whose turn it is to have one of them."""

    def __init__(self, count: int) -> None:
        self.turns: Turns[anyio.Event] = Turns(count)
        self.limiter = anyio.CapacityLimiter(count)


class Work(enum.Enum):
    """What a function does that may block."""

    READS = enum.auto()
    LOOKS_UP = enum.auto()
    """It only reads, and so little that others may wait for its end."""
    WRITES = enum.auto()
    RECORDS = enum.auto()
    """It writes, likewise, and what it writes may be undone after it has returned: so it tells nobody of it."""


class _Threads:
    """The threads that answer one control plane's requests in one event loop."""

    def __init__(self, parts: Parts) -> None:
        reading, writing = _Places(THREADS), _Places(THREADS)
        self._places = {Work.READS: reading, Work.LOOKS_UP: reading, Work.WRITES: writing, Work.RECORDS: writing}
        self._executors: dict[Work, BatchExecutor] = {}
        # Elsewhere work waits for locks, and for answers over a network: one piece would hold up the others.
        if not parts.database.is_server and not parts.asks_others:
            database = parts.database
            self._executors = {
                Work.LOOKS_UP: BatchExecutor(database.lent, LONGEST_WAIT_SECONDS),
                Work.RECORDS: BatchExecutor(database.together, LONGEST_WAIT_SECONDS),
            }

    async def run(
        self, work: Work, flow: str, function: Callable[[Unpack[_Arguments]], _Result], *args: Unpack[_Arguments]
    ) -> _Result:
        """Run blocking code when it is its flow's turn.

        Raises:
            ApiError: 503 `busy`.
        """
        executor = self._executors.get(work)
        if executor is None:
            return await _in_turn(self._places[work], flow, function, *args)
        try:
            return await executor.do(flow, function, *args)
        except TurnDidNotCome:
            raise _busy() from None


@dataclass(slots=True)
class ApiRequest:
    """One complete request. `raw_path` is as sent, percent-encoded, without query and mount prefix."""

    method: str
    raw_path: str
    query: str
    headers: list[tuple[bytes, bytes]] = field(repr=False)
    body: bytes = field(repr=False)
    path_params: dict[str, Any]
    address: str = UNKNOWN
    """Whose requests count as this client's: see `client_address`."""
    found: KeyRecord | None = field(default=None, repr=False)
    """The key, where it was looked up for this request already."""
    caller: Caller | None = field(default=None, repr=False)
    """Whose key it was when it was last seen."""
    flow: str | None = None
    """Whose turn it takes: see `turns`."""
    _json: Any = field(default=_UNREAD, repr=False)

    def header(self, name: str) -> str | None:
        """Return the first header with this name (in lower case), or None."""
        wanted = name.encode()
        return next((value.decode("latin-1") for key, value in self.headers if key == wanted), None)

    def only_header(self, name: str) -> str | None:
        """Return a header that may occur once; None if it is missing or repeated."""
        wanted = name.encode()
        values = [value for key, value in self.headers if key == wanted]
        return values[0].decode("latin-1") if len(values) == 1 else None

    @property
    def parameters(self) -> QueryParams:
        """The parsed query."""
        return QueryParams(self.query)

    def json(self) -> Any:
        """Return the decoded body.

        Raises:
            ApiError: 400 `invalid_json`.
        """
        if self._json is _UNREAD:
            self._json = _decode(self.body)
        return self._json

    def idempotency_key(self) -> str | None:
        """Return the request's idempotency key without checking it: from the header, or else from the body."""
        header = self.header("idempotency-key")
        if header is not None:
            return header
        try:
            content = self.json()
        except ApiError:
            return None
        key = content.get("idempotency_key") if isinstance(content, dict) else None
        return key if isinstance(key, str) else None

    def require_idempotency_key(self) -> str | None:
        """Return the request's idempotency key, checked, or None.

        Raises:
            ApiError: 400 `invalid_idempotency_key` or `idempotency_key_conflict`.
        """
        content = self.json()
        in_body = content.get("idempotency_key") if isinstance(content, dict) else None
        given = [value.decode("latin-1") for name, value in self.headers if name == b"idempotency-key"]
        if in_body is not None:
            given.append(in_body)
        if not all(map(is_idempotency_key, given)):
            raise invalid_idempotency_key()
        if len(set(given)) > 1:
            raise ApiError(
                400,
                "idempotency_key_conflict",
                "The Idempotency-Key header and `idempotency_key` in the body differ: send the same, or one of them.",
            )
        return given[0] if given else None

    def refuse_query(self) -> None:
        """Refuse a query on a method that writes: signatures do not cover it.

        Raises:
            ApiError: 400 `unexpected_query`.
        """
        if self.query:
            raise ApiError(400, "unexpected_query", f"{self.method} takes no query string here: leave it out.")


async def read_request(parts: Parts, request: Request) -> ApiRequest:
    """Read a whole request. What this task runs in threads from now on runs in the turn of its customer.

    Raises:
        ApiError: 413 `body_too_large`; 400 `repeated_authorization`.
        ClientDisconnect: the client went away before its body had come.
    """
    scope = request.scope
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    authorizations = 0
    announced = b""
    forwarded_for: list[str] = []
    for name, value in headers:
        if name == b"authorization":
            authorizations += 1
        elif name == b"content-length" and not announced:
            announced = value
        elif name == b"x-forwarded-for":
            forwarded_for.append(value.decode("latin-1"))
    if authorizations > 1:
        # Whoever is in between may have looked at the other one.
        raise ApiError(400, "repeated_authorization", "There are several Authorization headers: send one.")
    peer = scope.get("client")
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    call = ApiRequest(
        method=scope["method"],
        raw_path=raw_path.decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        headers=headers,
        body=await _read_body(request, announced),
        path_params=scope["path_params"],
        address=client_address(peer[0] if peer else None, forwarded_for, parts.limits.options.trusted_proxies),
    )
    _current_request.set((parts, call))
    return call


_current_request: ContextVar[tuple[Parts, ApiRequest]] = ContextVar("nodus_control_call")
"""The request that this task answers."""


async def in_thread(function: Callable[[Unpack[_Arguments]], _Result], *args: Unpack[_Arguments]) -> _Result:
    """Run blocking code that only reads in a thread, when it is the turn of this request's customer.

    Raises:
        ApiError: 503 `busy`, after waiting for 5 s; 429 `rate_limited`; 503 `database_unavailable`.
    """
    return await in_turn(Work.READS, function, *args)


async def in_writing_thread(function: Callable[[Unpack[_Arguments]], _Result], *args: Unpack[_Arguments]) -> _Result:
    """Run blocking code that writes in one of other threads, likewise: while it waits for a lock, reads go on.

    Raises:
        ApiError: as `in_thread`.
    """
    return await in_turn(Work.WRITES, function, *args)


async def in_turn(work: Work, function: Callable[[Unpack[_Arguments]], _Result], *args: Unpack[_Arguments]) -> _Result:
    """Run blocking code where such work is done, when it is the turn of this request's customer.

    Raises:
        ApiError: as `in_thread`.
    """
    parts, call = _current_request.get()
    try:
        if call.flow is None:
            call.flow = await _flow_of(parts, call)
        return await _threads_of(parts).run(work, call.flow, function, *args)
    except DatabaseUnavailable as exc:
        # What was done could not be committed.
        parts.database_trouble.say(exc)
        raise translate(exc) from None
    except ApiError as exc:
        if exc.hold_seconds:
            await anyio.sleep(exc.hold_seconds)
        raise


async def _flow_of(parts: Parts, call: ApiRequest) -> str:
    """Find out whose turn a request takes: its customer's, or where it has no valid key, its client's.

    Raises:
        ApiError: as `in_thread`.
    """
    stranger = f"address {call.address}"
    api_key = bearer_key(call.header("authorization"))
    if api_key is None:
        return stranger
    caller = parts.callers.get(api_key)
    if caller is None:
        call.found = await _threads_of(parts).run(Work.LOOKS_UP, stranger, translated, _find_key, parts, call)
        if call.found is None:
            return stranger
        caller = parts.callers.remember(api_key, call.found, parts.limits.of_key(call.found))
    call.caller = caller
    # A key that must sign has proved nothing yet, so it is refused without a look only where many are.
    parts.limits.refuse_early(caller.key_id, caller.limit, only_in_flood=caller.signs)
    return f"customer {caller.customer_id}"


def _find_key(parts: Parts, call: ApiRequest) -> KeyRecord | None:
    return parts.keys.find(bearer_key(call.header("authorization")) or "")


async def _in_turn(
    places: _Places, flow: str, function: Callable[[Unpack[_Arguments]], _Result], *args: Unpack[_Arguments]
) -> _Result:
    turns = places.turns
    if not turns.take(flow):
        await _wait(turns, flow)
    try:
        return await run_in_thread(function, *args, limiter=places.limiter)
    finally:
        next_one = turns.release(flow)
        if next_one is not None:
            next_one.set()


async def _wait(turns: Turns[anyio.Event], flow: str) -> None:
    waiter = anyio.Event()
    turns.wait(flow, waiter)
    try:
        with anyio.fail_after(LONGEST_WAIT_SECONDS):
            await waiter.wait()
    except TimeoutError:
        if turns.give_up(flow, waiter):
            raise _busy() from None
    except BaseException:
        # Cancelled: a place that was given meanwhile goes on to the next.
        if not turns.give_up(flow, waiter):
            next_one = turns.release(flow)
            if next_one is not None:
                next_one.set()
        raise


def _busy() -> ApiError:
    return ApiError(
        503,
        "busy",
        "Too many requests of yours are waiting: nothing was done; send fewer at once, and try again.",
        headers={"Retry-After": str(BUSY_RETRY_SECONDS)},
    )


def _threads_of(parts: Parts) -> _Threads:
    loop = loop_here()
    of_control_planes = _loops_threads.get(loop)
    if of_control_planes is None:
        of_control_planes = _loops_threads[loop] = WeakKeyDictionary()
    threads = of_control_planes.get(parts)
    if threads is None:
        threads = of_control_planes[parts] = _Threads(parts)
    return threads


async def _read_body(request: Request, announced: bytes) -> bytes:
    # Refused unread, if its declared length is already too much.
    if announced.isdigit() and len(announced) < 19 and int(announced) > MAX_BODY_BYTES:
        raise _too_large()
    chunks: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise _too_large()
        chunks.append(chunk)
        more = message.get("more_body", False)
    return b"".join(chunks)


def _too_large() -> ApiError:
    return ApiError(413, "body_too_large", f"A body may have {MAX_BODY_BYTES} bytes.")


def translated(function: Callable[[_Parts, ApiRequest], _Result], parts: _Parts, call: ApiRequest) -> _Result:
    """Run a function; a refusal by the ledger becomes the error that callers see.

    Raises:
        ApiError: as the function raises it, or in place of a refusal.
    """
    try:
        return function(parts, call)
    except DatabaseUnavailable as exc:
        parts.database_trouble.say(exc)
        raise translate(exc) from None
    except (Refused, InvalidSpec) as exc:
        raise translate(exc) from None


def _decode(body: bytes) -> Any:
    try:
        return _DECODER.decode(body.decode("utf-8"))
    except (ValueError, RecursionError):
        # Not chained: the decoder's message and document would lead back to what was sent.
        pass
    raise ApiError(400, "invalid_json", "The body must be JSON in UTF-8.")


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError


# `json.loads` would make one at every call.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
