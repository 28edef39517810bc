"""A client of the Docker Engine API, over a unix socket, TLS or ssh: the one place that waits for an engine.

What goes wrong on the way is `EngineUnavailable`, whose sentence names neither addresses nor what an engine said.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx

from nodus_core.suppliers_file import DockerOptions, Reference, TcpEndpoint, UnixEndpoint

from ..protocol import EngineUnavailable
from .options import resolve
from .streams import BROKEN, LATE, Stream, cut, status_is
from .tunnel import Tunnel

API_VERSION = "v1.41"
CONNECT_SECONDS = 2.0
LOOK_SECONDS = 3.0
"""How long an engine may take to answer a question."""

CHANGE_SECONDS = 30.0
"""How long it may take to make or to remove something."""

START_SECONDS = 60.0

_LONGEST_ANSWER_BYTES = 32 << 20

# A connection of which only this side is left ends within 90 s, also one on which only output would come.
_KEEPALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
        if hasattr(socket, name)
    ),
]


@dataclass(frozen=True, slots=True)
class Answer:
    """What an engine answered.

    Attributes:
        status: of HTTP.
        content: the body.
        at: when, in Unix seconds of the engine's clock, rounded down; None where it did not say.
    """

    status: int
    content: bytes
    at: float | None

    def document(self) -> Any:
        """Return the body, read as JSON.

        Raises:
            EngineUnavailable: it is no JSON.
        """
        try:
            return json.loads(self.content)
        except ValueError as exc:
            raise EngineUnavailable("the supplier's engine answered with what is no JSON") from exc

    @property
    def message(self) -> str:
        """What the engine said was wrong: for operators, because it names things of the host."""
        with contextlib.suppress(ValueError, AttributeError):
            return str(json.loads(self.content).get("message", ""))
        return ""

    def require(self, *statuses: int) -> Answer:
        """Return this answer if it is one of those.

        Raises:
            EngineUnavailable: it is another.
        """
        if self.status not in statuses:
            raise EngineUnavailable(status_is(self.status))
        return self


class _Limit(threading.local):
    """Until when this thread waits for an engine, by the monotonic clock."""

    def __init__(self) -> None:
        self.until = float("inf")

    @property
    def left(self) -> float:
        """How many seconds are left of it."""
        return self.until - time.monotonic()


class Engine:
    """An engine. Threads may share it.

    Args:
        options: where it is.
        resolved: returns the secret that a reference stands for.

    Raises:
        RuntimeError: a secret is not there, or is no certificate.
    """

    def __init__(self, options: DockerOptions, resolved: Callable[[Reference], str] = resolve) -> None:
        endpoint = options.endpoint
        self._tunnel: Tunnel | None = None
        self._socket: str | None = None
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._is_closed = False
        self._tcp: tuple[TcpEndpoint, ssl.SSLContext] | None = None
        self._host = "engine"
        self._limit = _Limit()
        base_url = "http://engine"
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=16, keepalive_expiry=30)
        if isinstance(endpoint, UnixEndpoint):
            self._socket = endpoint.path
            transport = httpx.HTTPTransport(uds=endpoint.path, verify=_nobody(), limits=limits)
        elif isinstance(endpoint, TcpEndpoint):
            host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
            self._host = f"{host}:{endpoint.port}"
            base_url = f"https://{self._host}"
            context = _tls(options, resolved)
            self._tcp = endpoint, context
            transport = httpx.HTTPTransport(verify=context, limits=limits, socket_options=_KEEPALIVE)
        else:
            self._tunnel = Tunnel(endpoint)
            self._socket = str(self._tunnel.socket)
            transport = httpx.HTTPTransport(uds=self._socket, verify=_nobody(), limits=limits)
        self._client = httpx.Client(transport=transport, base_url=f"{base_url}/{API_VERSION}", trust_env=False)

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Let all requests of this thread in the block together take no longer than that; streams are not among them.

        What is asked after that, or is not answered by then, is `EngineUnavailable`.
        """
        before = self._limit.until
        self._limit.until = min(before, time.monotonic() + seconds)
        try:
            yield
        finally:
            self._limit.until = before

    @property
    def seconds_left(self) -> float:
        """How long this thread may still wait, of the block of `within` that it is in."""
        return self._limit.left

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
        seconds: float = LOOK_SECONDS,
    ) -> Answer:
        """Send one request, and return the answer, whatever its status.

        Args:
            method: of HTTP.
            path: below the version.
            params: the query.
            body: what is sent as JSON.
            seconds: how long the answer may take, or less where less is left of `within`.

        Raises:
            EngineUnavailable: there was no answer in time; `never_sent` where there was no connection, or no time left.
        """
        with self.within(seconds):
            self._open()
            left = self._limit.left
            if left <= 0:
                raise EngineUnavailable(LATE, never_sent=True)
            timeout = httpx.Timeout(left, connect=min(left, CONNECT_SECONDS))
            request = self._client.build_request(method, path, params=params, json=body, timeout=timeout)
            try:
                response = self._client.send(request, stream=True)
                with contextlib.closing(response):
                    content = self._read(response)
            except (httpx.HTTPError, httpx.StreamError, OSError) as exc:
                raise _unavailable(exc) from exc
        return Answer(response.status_code, content, _date(response))

    def _read(self, response: httpx.Response) -> bytes:
        """Return the body of an answer, which may come bit by bit."""
        found = bytearray()
        for part in response.iter_bytes():
            found += part
            if self._limit.left <= 0:
                raise EngineUnavailable(LATE)
            if len(found) > _LONGEST_ANSWER_BYTES:
                raise EngineUnavailable("the supplier's engine gives an answer that does not end")
        return bytes(found)

    @contextlib.contextmanager
    def stream(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
        answer_seconds: float = CHANGE_SECONDS,
        silence_seconds: float | None,
    ) -> Iterator[Stream]:
        """Send a request whose answer comes bit by bit, on a connection of its own.

        Args:
            method: of HTTP.
            path: below the version.
            params: the query.
            headers: more header fields.
            answer_seconds: how long the beginning of the answer may take.
            silence_seconds: how long nothing may come after it; None for as long as it takes.

        Raises:
            EngineUnavailable: there was no answer, it broke off, or this engine is closed.
        """
        with contextlib.closing(self._connect()) as connection, self._cut_at_the_close(connection):
            yield Stream(
                connection,
                method=method,
                host=self._host,
                target=f"/{API_VERSION}{path}",
                params=params,
                headers=headers,
                answer_seconds=answer_seconds,
                silence_seconds=silence_seconds,
            )

    @contextlib.contextmanager
    def _cut_at_the_close(self, connection: socket.socket) -> Iterator[None]:
        """Let `close` cut off a connection: no thread may wait for it any longer then.

        Raises:
            EngineUnavailable: it is closed already.
        """
        with self._lock:
            self._require_open()
            self._connections.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._connections.discard(connection)

    def _require_open(self) -> None:
        if self._is_closed:
            raise EngineUnavailable("the connections to the supplier's engine are closed", never_sent=True)

    def _connect(self) -> socket.socket:
        """Return a new connection.

        Raises:
            EngineUnavailable: there is none to be had.
        """
        self._require_open()
        if self._tunnel is not None:
            self._tunnel.open()
        try:
            if self._tcp is None:
                return self._connect_here()
            endpoint, context = self._tcp
            plain = socket.create_connection((endpoint.host, endpoint.port), CONNECT_SECONDS)
            try:
                for option in _KEEPALIVE:
                    plain.setsockopt(*option)
                return context.wrap_socket(plain, server_hostname=endpoint.host)
            except BaseException:
                plain.close()
                raise
        except OSError as exc:
            raise EngineUnavailable("the supplier's engine cannot be reached", never_sent=True) from exc

    def _connect_here(self, seconds: float = CONNECT_SECONDS) -> socket.socket:
        """Return a new connection to the socket on this machine."""
        assert self._socket is not None
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # 0 would let it be refused where it might come to pass at once.
            connection.settimeout(max(seconds, 0.001))
            connection.connect(self._socket)
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Cut all streams and close all connections; there are no others from now on."""
        with self._lock:
            self._is_closed = True
            connections = tuple(self._connections)
        for connection in connections:
            cut(connection)
        self._client.close()
        if self._tunnel is not None:
            self._tunnel.close()

    def _open(self) -> None:
        """Make sure that somebody listens: httpcore leaves a socket behind for each that it cannot connect."""
        self._require_open()
        wait = max(0.0, min(self._limit.left, CONNECT_SECONDS))
        if self._tunnel is not None:
            self._tunnel.open(wait)
        if self._socket is not None:
            try:
                self._connect_here(wait).close()
            except OSError as exc:
                raise EngineUnavailable("the supplier's engine cannot be reached", never_sent=True) from exc


def _unavailable(exc: Exception) -> EngineUnavailable:
    if isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return EngineUnavailable("the supplier's engine cannot be reached", never_sent=True)
    if isinstance(exc, httpx.TimeoutException):
        return EngineUnavailable(LATE)
    return EngineUnavailable(BROKEN)


def _date(response: httpx.Response) -> float | None:
    try:
        return parsedate_to_datetime(response.headers["Date"]).timestamp()
    except (KeyError, ValueError, TypeError):
        return None


def _nobody() -> ssl.SSLContext:
    """Return a context that trusts nobody, for a socket without TLS: httpx would load all authorities otherwise."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _tls(options: DockerOptions, resolved: Callable[[Reference], str]) -> ssl.SSLContext:
    if options.tls is None:
        raise RuntimeError("an engine at tcp:// needs `tls`: without, whoever reaches it is root on its host")
    try:
        context = ssl.create_default_context(cadata=resolved(options.tls.ca))
        with tempfile.TemporaryDirectory(prefix="nodus-tls-") as folder:  # nobody else may look into it
            pair = Path(folder) / "pair.pem"
            pair.touch(0o600)
            pair.write_text(f"{resolved(options.tls.cert)}\n{resolved(options.tls.key)}\n", encoding="utf-8")
            context.load_cert_chain(pair)
    except (ssl.SSLError, ValueError) as exc:
        raise RuntimeError(f"the certificates of the engine cannot be used: {exc}") from exc
    return context
