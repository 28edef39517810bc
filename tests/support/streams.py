"""What a server sends on a stream: in chunks, whole or broken off."""

from __future__ import annotations

import json

from tests.support.server import Action, Peer, sends
from tests.support.silence import Silence

JOB = "job-1"
LIFECYCLE = ("queued", "placed", "running", "completed")


def frame(seq: int, status: str | None = None, *, job_id: str = JOB, id: int | None = None) -> bytes:
    """One event of a stream; its status is that of a job that runs through."""
    data = {"seq": seq, "job_id": job_id, "status": status or LIFECYCLE[seq - 1], "attempt": min(seq - 1, 1)}
    return f"id: {id or seq}\nevent: status\ndata: {json.dumps(data)}\n\n".encode()


def frames(*seqs: int) -> bytes:
    """Several events of a job."""
    return b"".join(map(frame, seqs))


def streams(
    *pieces: bytes, kind: str = "text/event-stream", ends: bool = True, status: int = 200, **headers: str
) -> Action:
    """Send a body in chunks; break off before its end, unless it `ends`."""
    return sends(
        _head(status, kind, headers) + b"".join(map(_chunk, pieces)) + (_chunk(b"") if ends else b""), keep_alive=ends
    )


def hangs(*pieces: bytes, kind: str = "text/event-stream", falls: Silence | None = None) -> Action:
    """Send part of a body in chunks, and then nothing at all: the silence `falls` then."""

    def perform(peer: Peer) -> bool:
        peer.socket.sendall(_head(200, kind, {}) + b"".join(map(_chunk, pieces)))
        return (falls or Silence()).keep(peer)

    return Action(perform)


def logs(*pieces: bytes, ends: bool = True, status: int = 200, **headers: str) -> Action:
    """Send output."""
    return streams(*pieces, kind="text/plain; charset=utf-8", ends=ends, status=status, **headers)


def _head(status: int, kind: str, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Some Reason", f"Content-Type: {kind}", "Transfer-Encoding: chunked"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"
