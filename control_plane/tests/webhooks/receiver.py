"""An endpoint on loopback that keeps what it is sent, and answers as it is told to."""

from __future__ import annotations

import ssl
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType

from joined_server import JoinedServer, QuietHandler
from patience import PATIENCE_SECONDS
from typing_extensions import Self

import nodus


@dataclass(frozen=True)
class Answer:
    """What to answer: a status, headers, and, before it, what to wait for or do."""

    status: int = 204
    headers: Mapping[str, str] | None = None
    first: Callable[[], object] | None = None


@dataclass(frozen=True)
class Request:
    """One request, whole."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def signature(self) -> str | None:
        """Its `Nodus-Signature`."""
        return self.headers.get("nodus-signature")

    def event(self, secret: str) -> nodus.WebhookEvent:
        """Read it as its receiver would, with the SDK."""
        return nodus.construct_event(
            body=self.body,
            signature_header=self.signature,
            signing_secret=secret,
            path=self.path.partition("?")[0],
        )


class Receiver:
    """Answers 204, unless answers were scripted: those come first, in order."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self._answers: deque[Answer] = deque()
        self._always = Answer()
        self._arrived = threading.Condition()
        receiver = self

        class Handler(QuietHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = receiver._take(Request(self.path, headers, body))
                if answer.first is not None:
                    answer.first()
                self.send_response(answer.status)
                for name, value in (answer.headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

        self._server = JoinedServer(Handler, tls=tls)
        self._scheme = "http" if tls is None else "https"
        self.port = self._server.port

    @property
    def url(self) -> str:
        """Where it receives."""
        return f"{self._scheme}://127.0.0.1:{self.port}/nodus"

    def script(self, *answers: Answer) -> None:
        """Answer so, in this order, before answering 204 again."""
        with self._arrived:
            self._answers.extend(answers)

    def always(self, answer: Answer) -> None:
        """Answer so from now on."""
        self._always = answer

    def wait_for(self, count: int) -> list[Request]:
        """Wait until so many requests have come; return them."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.requests) >= count, timeout=PATIENCE_SECONDS)
            return list(self.requests)

    def _take(self, request: Request) -> Answer:
        with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()
            return self._answers.popleft() if self._answers else self._always

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.__exit__(exc_type, exc, traceback)
