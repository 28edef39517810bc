"""A request as the API's functions see it. Its body is read in the event loop; the functions run in a thread."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

import anyio.to_thread
from anyio.lowlevel import RunVar
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from typing_extensions import TypeVarTuple, Unpack

from nodus_core.spec import InvalidSpec, is_idempotency_key
from nodus_ledger.errors import DatabaseUnavailable, Refused

from .api.errors import ApiError, translate
from .plane import Plane

MAX_BODY_BYTES = 1024 * 1024
THREADS = 16
"""So many for requests that only read, and so many again for those that write: writers may wait for each other."""

_READING = ("GET", "HEAD")

_Result = TypeVar("_Result")
_Arguments = TypeVarTuple("_Arguments")

_UNREAD: Any = object()
_reading: RunVar[anyio.CapacityLimiter] = RunVar("nodus_control_reading_threads")
_writing: RunVar[anyio.CapacityLimiter] = RunVar("nodus_control_writing_threads")


@dataclass(slots=True)
class Call:
    """One complete request. `raw_path` is as sent, percent-encoded, without query and mount prefix."""

    method: str
    raw_path: str
    query: str
    headers: list[tuple[bytes, bytes]] = field(repr=False)
    body: bytes = field(repr=False)
    path_params: dict[str, Any]
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
            raise ApiError(400, "invalid_idempotency_key", "An idempotency key is 1 to 128 printable ASCII characters.")
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


Endpoint = Callable[[Plane, Call], Response]


async def respond(request: Request, endpoint: Endpoint, *, writes: bool | None = None) -> Response:
    """Answer a request with the result of `endpoint`, which may block, and may raise what `translate` knows.

    `writes` says whether it changes the database, if its method does not say so.

    Raises:
        ApiError: as the endpoint raises it; 413 `body_too_large`.
    """
    call = await read_call(request)
    if writes is None:
        writes = call.method not in _READING
    in_its_thread = in_writing_thread if writes else in_thread
    return await in_its_thread(translated, endpoint, request.app.state.plane, call)


async def read_call(request: Request) -> Call:
    """Read a whole request.

    Raises:
        ApiError: 413 `body_too_large`.
        ClientDisconnect: the client went away before its body had come.
    """
    scope = request.scope
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    return Call(
        method=scope["method"],
        raw_path=raw_path.decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        headers=scope["headers"],
        body=await _read_body(request),
        path_params=scope["path_params"],
    )


async def in_thread(function: Callable[[Unpack[_Arguments]], _Result], *args: Unpack[_Arguments]) -> _Result:
    """Run blocking code that only reads in one of this event loop's few threads: more would wait for each other."""
    return await anyio.to_thread.run_sync(function, *args, limiter=_limiter(_reading))


async def in_writing_thread(function: Callable[[Unpack[_Arguments]], _Result], *args: Unpack[_Arguments]) -> _Result:
    """Run blocking code that writes in one of as many others: while it waits for a lock, reads go on."""
    return await anyio.to_thread.run_sync(function, *args, limiter=_limiter(_writing))


def _limiter(kept_in: RunVar[anyio.CapacityLimiter]) -> anyio.CapacityLimiter:
    try:
        return kept_in.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(THREADS)
        kept_in.set(limiter)
        return limiter


async def _read_body(request: Request) -> bytes:
    announced = request.headers.get("content-length", "")
    # Refused unread, if its declared length is already too much.
    if announced.isdecimal() and len(announced) < 19 and int(announced) > MAX_BODY_BYTES:
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


def translated(function: Callable[[Plane, Call], _Result], plane: Plane, call: Call) -> _Result:
    """Run a function; a refusal by the ledger becomes the error that callers see.

    Raises:
        ApiError: as the function raises it, or in place of a refusal.
    """
    try:
        return function(plane, call)
    except DatabaseUnavailable as exc:
        plane.database_trouble.say(exc)
        raise translate(exc) from None
    except (Refused, InvalidSpec) as exc:
        raise translate(exc) from None


def _decode(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        # Not chained: the decoder's message and document would lead back to what was sent.
        pass
    raise ApiError(400, "invalid_json", "The body must be JSON in UTF-8.")


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError
