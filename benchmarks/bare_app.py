"""What answering costs at the least: uvicorn with an application that reads the request and gives one job, always.

It says where it listens in a line, and ends when its standard input does.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

import uvicorn

from .server import JOB, pin


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    status = 202 if scope["method"] == "POST" else 200
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(JOB)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": JOB})


def main() -> None:
    pin(server=True)
    config = uvicorn.Config(app, port=0, lifespan="off", access_log=False, log_level="error")  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
