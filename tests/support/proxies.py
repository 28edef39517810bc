"""Proxies on loopback, as actions of a `LoopbackServer`: all names lead to this machine."""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import struct

from .server import Action, Peer

NAME = 3
ADDRESS_BYTES = {1: 4, 4: 16}


def _tunnel(peer: Peer) -> bool:
    """Do as a proxy does on CONNECT: from then on, carry bytes both ways."""
    assert peer.request is not None
    assert peer.request.method == "CONNECT"
    _, _, port = peer.request.target.rpartition(":")
    _connect(peer.socket, int(port), b"HTTP/1.1 200 Connection established\r\n\r\n")
    return False


def _socks(peer: Peer) -> bool:
    """Do as a SOCKS proxy without a password does (RFC 1928)."""
    version, methods = _exactly(peer.socket, 2)
    assert version == 5
    assert 0 in _exactly(peer.socket, methods)
    peer.socket.sendall(b"\x05\x00")
    version, command, _, kind = _exactly(peer.socket, 4)
    assert (version, command) == (5, 1)
    _exactly(peer.socket, _exactly(peer.socket, 1)[0] if kind == NAME else ADDRESS_BYTES[kind])
    (port,) = struct.unpack("!H", _exactly(peer.socket, 2))
    _connect(peer.socket, port, b"\x05\x00\x00\x01\x7f\x00\x00\x01" + struct.pack("!H", port))
    return False


def _connect(client: socket.socket, port: int, answer: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as upstream:
        client.sendall(answer)
        with contextlib.suppress(OSError):
            _carry(client, upstream)


def _carry(client: socket.socket, upstream: socket.socket) -> None:
    """Carry bytes both ways, until either end hangs up; in one thread, because no two may use one TLS connection."""
    with selectors.DefaultSelector() as selector:
        selector.register(client, selectors.EVENT_READ, upstream)
        selector.register(upstream, selectors.EVENT_READ, client)
        while True:
            for key, _ in selector.select():
                source, sink = key.fileobj, key.data
                assert isinstance(source, socket.socket)
                is_pending = True
                while is_pending:
                    data = source.recv(65536)
                    if not data:
                        return
                    sink.sendall(data)
                    is_pending = isinstance(source, ssl.SSLSocket) and source.pending() > 0


def _exactly(source: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = source.recv(count - len(data))
        if not more:
            raise ConnectionError("the client hung up")
        data += more
    return data


TUNNEL = Action(_tunnel)
SOCKS = Action(_socks, reads=False)
