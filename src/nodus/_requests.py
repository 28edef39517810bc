"""Turns calls into requests, without I/O."""

from __future__ import annotations

import functools
import platform
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import _bodies
from ._errors import ConfigurationError, ValidationError
from ._httpx import httpcore, httpx
from ._version import __version__

if TYPE_CHECKING:
    from ._calls import Call
    from ._config import Settings
    from ._signing import Signer

USER_AGENT = f"nodus-python/{__version__} python/{platform.python_version()} httpx/{httpx.__version__}"

JSON = "application/json"


class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body of a request: one chunk or none, as often as it is asked for.

    Not a generator, because trio warns of one that a dropped connection leaves unfinished.
    """

    def __init__(self, content: bytes = b"") -> None:
        self._chunks = (content,) if content else ()

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Chunks(self._chunks)


class _Chunks(AsyncIterator[bytes]):
    def __init__(self, chunks: tuple[bytes, ...]) -> None:
        self._chunks = iter(chunks)

    async def __anext__(self) -> bytes:
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration


_NO_BODY = Body()


@dataclass(slots=True)
class Request:
    """One attempt at a call, ready to be sent.

    Attributes:
        method: in upper case.
        url: where to.
        address: the same, for httpcore.
        headers: all of them, `Host` included.
        body: may be read more than once.
        deadline: the clock reading at which the attempt must be over, waiting for a connection included, or None.
        repeatable: whether it may be sent again if a reused connection turns out to be dead.
        max_bytes: how many bytes the body of the response may have.
        number: 1 for the first attempt at the call.
        secrets: what to redact from the response.
    """

    method: str
    url: httpx.URL
    address: httpcore.URL
    headers: list[tuple[bytes, bytes]]
    body: Body = _NO_BODY
    deadline: float | None = None
    repeatable: bool = False
    max_bytes: int = _bodies.MAX_JSON_BYTES
    number: int = 1
    secrets: tuple[str, ...] = ()


def address_of(url: httpx.URL) -> httpcore.URL:
    """A URL as httpcore takes it."""
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


class RequestBuilder:
    """Turns calls into requests under one client's settings; what does not change is prepared once.

    Raises:
        ConfigurationError: (`invalid_base_url`) the base URL's host is impossible.
    """

    def __init__(self, settings: Settings, signer: Signer | None) -> None:
        try:
            base = httpx.URL(settings.base_url)
        except httpx.InvalidURL as exc:
            raise ConfigurationError(f"`base_url` is not a URL: {exc}.", code="invalid_base_url") from exc
        self._base = base
        self._signer = signer
        self._prefix = base.raw_path.rstrip(b"/")
        # Waiting for a job asks for the same URL over and over, and parsing it takes longer than all the rest here.
        self._url = functools.lru_cache(maxsize=1024)(self._parse_url)
        self._common = [
            (b"Host", base.netloc),
            (b"Accept", JSON.encode()),
            *((name.encode(), value.encode()) for name, value in settings.extra_headers),
        ]
        if not any(name.lower() == "user-agent" for name, _ in settings.extra_headers):
            self._common.append((b"User-Agent", USER_AGENT.encode()))
        self._bearer = (b"Authorization", b"Bearer " + settings.api_key.encode())
        self._secrets = tuple(filter(None, (settings.api_key, settings.signing_secret)))

    def build(self, call: Call, *, deadline: float, number: int = 1, now: float) -> Request:
        """Build the request of one attempt.

        Args:
            call: what to ask.
            deadline: the clock reading at which the attempt must be over.
            number: 1 for the first attempt at this call.
            now: the time to sign at, in Unix seconds.

        Raises:
            ValidationError: (`invalid_argument`) the URL would be too long to send.
        """
        headers = self._common.copy()
        if call.accept != JSON:
            headers = [(name, call.accept.encode() if name == b"Accept" else value) for name, value in headers]
        headers.extend((name.encode(), value.encode()) for name, value in call.headers)
        if call.authenticated:
            headers.append(self._bearer)
            if self._signer is not None:
                signature = self._signer.header(call.method, call.path, call.body, now)
                headers.append((b"Nodus-Signature", signature.encode()))
        if call.body:
            headers.append((b"Content-Type", b"application/json"))
        if call.body or call.method == "POST":
            headers.append((b"Content-Length", str(len(call.body)).encode()))
        if call.idempotency_key is not None:
            headers.append((b"Idempotency-Key", call.idempotency_key.encode()))
        if number > 1:
            headers.append((b"X-Nodus-Retry-Count", str(number - 1).encode()))
        url, address = self._url(call.path, call.query)
        return Request(
            call.method,
            url,
            address,
            headers,
            body=Body(call.body) if call.body else _NO_BODY,
            deadline=deadline,
            repeatable=call.repeatable,
            max_bytes=call.max_bytes,
            number=number,
            secrets=self._secrets + call.secrets,
        )

    def _parse_url(self, path: str, query: str) -> tuple[httpx.URL, httpcore.URL]:
        target = self._prefix + path.encode()
        if query:
            target += b"?" + query.encode()
        try:
            url = self._base.copy_with(raw_path=target)
        except httpx.InvalidURL as exc:
            raise ValidationError(
                f"The URL of {path[:64]} cannot be sent ({exc}): an id or a cursor is too long.",
                code="invalid_argument",
            ) from exc
        return url, address_of(url)
