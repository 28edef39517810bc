"""An HTTP client that answers from a script, for tests that are about anything but the wire."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable

from nodus._httpx import httpx

Answer = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]
"""What to give for one request: an answer, what to raise, or a function that decides."""


class Scripted:
    """What both clients below share.

    Args:
        answers: one for each request, in order.
        then: the answer to every request after those; without one, such a request fails the test.

    Attributes:
        requests: what was sent, in order.
    """

    def __init__(self, *answers: Answer, then: Answer | None = None) -> None:
        self._answers = deque(answers)
        self._then = then
        self.requests: list[httpx.Request] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Note a request down and give what the script says."""
        request.read()
        self.requests.append(request)
        answer = self._answers.popleft() if self._answers else self._then
        assert answer is not None, f"the script has no answer left for {request.method} {request.url}"
        if isinstance(answer, httpx.Response):
            return answer
        if isinstance(answer, Exception):
            raise answer
        return answer(request)

    @property
    def unused(self) -> int:
        """How many answers nobody asked for."""
        return len(self._answers)


class AsyncScript(Scripted):
    """Stands in for an `httpx.AsyncClient`."""

    async def send(self, request: httpx.Request, *, follow_redirects: bool) -> httpx.Response:
        assert follow_redirects is False
        return self.answer(request)


class Script(Scripted):
    """Stands in for an `httpx.Client`."""

    def send(self, request: httpx.Request, *, follow_redirects: bool) -> httpx.Response:
        assert follow_redirects is False
        return self.answer(request)


def reply(status: int = 200, payload: object = None, /, **headers: str) -> httpx.Response:
    """An answer with a JSON body; `retry_after="1"` is the header `Retry-After`."""
    return httpx.Response(status, json=payload, headers={name.replace("_", "-"): v for name, v in headers.items()})


def raw_reply(status: int, content: bytes, content_type: str = "text/html") -> httpx.Response:
    """An answer with any body at all."""
    return httpx.Response(status, content=content, headers={"Content-Type": content_type})


def job(status: str = "queued", /, **fields: object) -> dict[str, object]:
    """A job as the server describes it."""
    return {"id": "0198c0de-0000-7000-8000-000000000001", "status": status, **fields}


def job_reply(status: str = "queued", /, **fields: object) -> httpx.Response:
    """An answer that describes a job."""
    return reply(200, job(status, **fields))


def refusal(status: int, code: str = "some_code", /, **headers: str) -> httpx.Response:
    """An error in the server's own form."""
    return reply(status, {"error": code, "message": "It did not work."}, **headers)


def body_of(request: httpx.Request) -> dict[str, object]:
    """The JSON object that a request carries."""
    parsed = json.loads(request.content)
    assert isinstance(parsed, dict)
    return parsed
