"""Load on a server, as cheap as it can be made: written-out requests over raw sockets, a process of its own.

`python -m benchmarks.load KIND ADDRESS API_KEY JOB_ID CONNECTIONS REQUESTS` prints the seconds that they took. KIND is
`submit` or `get`; every connection has one request under way.
"""

from __future__ import annotations

import json
import secrets
import selectors
import socket
import sys
import time
from collections.abc import Callable, Iterator


class Connection:
    """One connection: sends a request, takes in its answer."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def send(self, request: bytes) -> None:
        self._received = b""
        self.socket.sendall(request)

    def receive(self) -> bytes | None:
        """Take in what has come; return the status of the answer once it is whole."""
        self._received += self.socket.recv(65_536)
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = self._received[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + len(b"content-length:") :].split(b"\r\n", 1)[0])
        return head.split(b" ", 2)[1] if len(self._received) == end + 4 + length else None


def drive(host: str, port: int, requests: Iterator[bytes], connections: int, expected: bytes) -> float:
    """Send all requests, so many at once; return the seconds that it took."""
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            connection = Connection(host, port)
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        busy = [key.data for key in selector.get_map().values()]
        began = time.perf_counter()
        for connection in busy:
            connection.send(next(requests))
        under_way = len(busy)
        while under_way:
            for key, _ in selector.select():
                status = key.data.receive()
                if status is None:
                    continue
                if status != expected:
                    raise RuntimeError(f"answered with {status.decode()}")
                following = next(requests, None)
                if following is None:
                    under_way -= 1
                else:
                    key.data.send(following)
        took = time.perf_counter() - began
        for connection in busy:
            connection.socket.close()
    return took


def submissions(api_key: str, count: int) -> Iterator[bytes]:
    """Requests that each submit another job, which will run for days."""
    run = secrets.token_hex(4)
    for number in range(count):
        key = f"{run}-{number}"
        spec = {
            "image": "ghcr.io/acme/train:v3",
            "command": ["python", "train.py"],
            "gpu": "l40s",
            "env": {"NODUS_SIM_DURATION_SECONDS": "172800"},
            "max_runtime_seconds": 172_800,
            "idempotency_key": key,
        }
        yield request("POST", "/v1/jobs", api_key, json.dumps(spec).encode(), f"Idempotency-Key: {key}\r\n")


def lookups(api_key: str, job_id: str, count: int) -> Iterator[bytes]:
    """Requests that each ask for one job."""
    written = request("GET", f"/v1/jobs/{job_id}", api_key)
    return (written for _ in range(count))


def request(method: str, path: str, api_key: str, body: bytes = b"", more: str = "") -> bytes:
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {api_key}\r\n"
        f"Accept: application/json\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    )
    return head.encode() + body


def main() -> None:
    kind, address, api_key, job_id, connections, count = sys.argv[1:]
    make: dict[str, tuple[Callable[[], Iterator[bytes]], bytes]] = {
        "submit": (lambda: submissions(api_key, int(count)), b"202"),
        "get": (lambda: lookups(api_key, job_id, int(count)), b"200"),
    }
    requests, expected = make[kind]
    host, _, port = address.removeprefix("http://").partition(":")
    print(drive(host, int(port), requests(), int(connections), expected))


if __name__ == "__main__":
    main()
