"""A server that stops answers nobody who comes too late, however busy it is."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from patience import PATIENCE_SECONDS, eventually
from starlette.types import Receive, Scope, Send

from nodus_control.serving.server import Server

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
TICK_SECONDS = 0.2
"""Longer than uvicorn takes between two looks at whether it is to stop."""


def test_who_is_accepted_while_the_server_stops_is_cut_off() -> None:
    """Its connection would be waited for as long as it asks for something: for ever, if that is a page."""
    holding, stopping = threading.Event(), threading.Event()

    async def hold_the_loop(_scope: Scope, _receive: Receive, send: Send) -> None:
        if not stopping.is_set():
            holding.set()
            stopping.wait(PATIENCE_SECONDS)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    server = Server(hold_the_loop, end_streams=stopping.set)
    server.start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS) as first:
        first.sendall(REQUEST)
        assert holding.wait(PATIENCE_SECONDS)
        held_since = time.monotonic()
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS) as late:
            late.sendall(REQUEST)
            eventually(lambda: time.monotonic() > held_since + TICK_SECONDS)
            stopped = threading.Thread(target=server.stop)
            stopped.start()
            assert first.recv(100).startswith(b"HTTP/1.1 200")
            answer = b""
            with contextlib.suppress(ConnectionError):
                answer = late.recv(100)
            stopped.join(PATIENCE_SECONDS)

    assert answer == b""
    assert not stopped.is_alive()
