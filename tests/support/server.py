"""A server on loopback whose every misdeed is scripted, down to the bytes."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType

LINGER_NOT = struct.pack("ii", 1, 0)
"""`SO_LINGER` that makes a close a reset."""

DRIP_SECONDS = 0.01
"""How long a dripping server waits between two bytes."""


@dataclass(frozen=True)
class Received:
    """A request as it came over the wire.

    Attributes:
        method: as sent.
        target: as sent: path and query, percent-encoded.
        headers: names in lower case, in order.
        body: the bytes.
        connection: the number of the connection, from 1 on.
    """

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    connection: int

    def header(self, name: str) -> str | None:
        """The value of a header that comes once, or None where it does not come."""
        values = [value for key, value in self.headers if key == name.lower()]
        assert len(values) <= 1, f"{name} came {len(values)} times"
        return values[0] if values else None


@dataclass
class Peer:
    """One connection, as an action sees it."""

    socket: socket.socket
    closing: threading.Event
    request: Received | None = None


@dataclass(frozen=True)
class Action:
    """What the server does about one request.

    Attributes:
        perform: does it; True if the connection stays open for another request.
        reads: whether the request is read before.
    """

    perform: Callable[[Peer], bool] = field(repr=False)
    reads: bool = True


def answer(status: int = 200, payload: object = None, /, **headers: str) -> Action:
    """Answer with JSON; `retry_after="1"` is the header `Retry-After`."""
    return sends(_response(status, json.dumps(payload).encode(), headers), keep_alive=True)


def sends(data: bytes, *, keep_alive: bool = False) -> Action:
    """Send these bytes, whatever they are; then close, unannounced, unless `keep_alive`."""

    def perform(peer: Peer) -> bool:
        peer.socket.sendall(data)
        return keep_alive

    return Action(perform)


def answer_and_hang_up(status: int, payload: object) -> Action:
    """Answer as if the connection stayed open, and close it."""
    return sends(_response(status, json.dumps(payload).encode(), {}))


def decide(choose: Callable[[Received], Action]) -> Action:
    """Do what `choose` says on seeing the request."""

    def perform(peer: Peer) -> bool:
        assert peer.request is not None
        return choose(peer.request).perform(peer)

    return Action(perform)


def _reset(peer: Peer) -> bool:
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    return False


def _half_close(peer: Peer) -> bool:
    peer.socket.shutdown(socket.SHUT_WR)
    peer.closing.wait()
    return False


def _stall(peer: Peer) -> bool:
    peer.closing.wait()
    return False


def drips(data: bytes) -> Action:
    """Send a byte now and then, never letting a single read take long."""

    def perform(peer: Peer) -> bool:
        for byte in data:
            if peer.closing.wait(DRIP_SECONDS):
                break
            peer.socket.sendall(bytes((byte,)))
        return False

    return Action(perform)


DROP_BEFORE_READING = Action(_reset, reads=False)
DROP_AFTER_READING = Action(_reset)
HALF_CLOSE = Action(_half_close)
STALL = Action(_stall)
HANG_UP = sends(b"")
GARBAGE = sends(b"\x00\xff\xfe this is not HTTP \r\n\r\n")
TRUNCATED_HEADERS = sends(b"HTTP/1.1 200 OK\r\nContent-Type: appli")
TRUNCATED_BODY = sends(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"id": "1"')
TRUNCATED_CHUNKS = sends(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{"id": "1"')
BAD_CHUNKS = sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n")
STALLED_BODY = Action(
    lambda peer: peer.socket.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{") is not None or _stall(peer)
)
DRIPPED_HEADERS = drips(b"HTTP/1.1 200 OK\r\n" + b"X-Padding: 0\r\n" * 1000)
DRIPPED_BODY = drips(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n" + b" " * 10000)


class LoopbackServer:
    """Serves a script; each connection in a thread of its own, all of them gone when the server is left.

    Args:
        actions: one for each request, in order.
        then: what to do about every request after those, or a function that says it for each.
        tls: the context to speak TLS with.

    Attributes:
        received: the requests that were read, in order.
        connections: how many connections were accepted.
    """

    def __init__(
        self,
        *actions: Action,
        then: Action | Callable[[], Action] = HANG_UP,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._actions = deque(actions)
        self._then = then
        self._tls = tls
        self._mutex = threading.Lock()
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._sockets: set[socket.socket] = set()
        self.received: list[Received] = []
        self.connections = 0

    @property
    def url(self) -> str:
        """The base URL to give to a client."""
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

    def __enter__(self) -> LoopbackServer:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing.set()
        with self._mutex:
            for open_socket in (self._listener, *self._sockets):
                _shut_down(open_socket)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def wait_until_all_closed(self, seconds: float = 120.0) -> None:
        """Wait until clients have closed their connections."""
        limit = time.monotonic() + seconds
        while self._sockets:
            assert time.monotonic() < limit, f"{len(self._sockets)} connections are still open"
            time.sleep(0.01)

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._mutex:
                if self._closing.is_set():
                    connection.close()
                    return
                self._sockets.add(connection)
                self.connections += 1
                number = self.connections
            self._start(self._serve, connection, number)

    def _serve(self, connection: socket.socket, number: int) -> None:
        peer = Peer(connection, self._closing)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                self._shake_hands(self._tls, peer)
            while self._exchange(peer, number):
                pass
        except OSError:
            pass
        finally:
            with self._mutex:
                self._sockets -= {connection, peer.socket}
            peer.socket.close()
            connection.close()

    def _shake_hands(self, tls: ssl.SSLContext, peer: Peer) -> None:
        with self._mutex:
            # The socket itself is spent by that: it is the new one that has to be shut down at the end.
            spent = peer.socket
            peer.socket = tls.wrap_socket(spent, server_side=True, do_handshake_on_connect=False)
            self._sockets.add(peer.socket)
            self._sockets.discard(spent)
            if self._closing.is_set():
                _shut_down(peer.socket)
        peer.socket.do_handshake()

    def _next_action(self) -> Action:
        if self._actions:
            return self._actions.popleft()
        return self._then if isinstance(self._then, Action) else self._then()

    def _exchange(self, peer: Peer, number: int) -> bool:
        if self._tls is None and not peer.socket.recv(1, socket.MSG_PEEK):
            return False
        with self._mutex:
            action = self._next_action()
        if action.reads:
            peer.request = _read_request(peer.socket, number)
            if peer.request is None:
                return False
            with self._mutex:
                self.received.append(peer.request)
        return action.perform(peer)


def _read_request(connection: socket.socket, number: int) -> Received | None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return None
        data += more
    head, body = data.split(b"\r\n\r\n", 1)
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = [(name.lower(), value.strip()) for name, value in (line.split(":", 1) for line in lines)]
    length = int(dict(headers).get("content-length", "0"))
    while len(body) < length:
        more = connection.recv(65536)
        if not more:
            return None
        body += more
    return Received(method, target, headers, body, number)


def _response(status: int, body: bytes, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Some Reason", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _shut_down(open_socket: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Not as TLS does it, which would take what it reads with away from the connection's own thread.
        socket.socket.shutdown(open_socket, socket.SHUT_RDWR)


@contextlib.contextmanager
def unused_port() -> Iterator[int]:
    """A port on which nobody listens, held so that nobody begins to."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        yield port
