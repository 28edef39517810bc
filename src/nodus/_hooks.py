"""What the hooks `on_retry=` and `on_response=` are called with. None of it is secret."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field

from ._errors import NodusError


@dataclass(frozen=True, slots=True)
class RetryEvent:
    """An attempt failed, and another will follow.

    Attributes:
        method: HTTP method.
        path: path of the request, starting with `/v1/`.
        retry: 1 for the first retry.
        max_retries: how many retries there may be.
        delay_seconds: how many seconds until the retry is sent.
        error: what the attempt failed with.
    """

    method: str
    path: str
    retry: int
    max_retries: int
    delay_seconds: float
    error: NodusError


@dataclass(frozen=True, slots=True)
class ResponseEvent:
    """An attempt got a response, with whatever status.

    Attributes:
        method: HTTP method.
        path: path of the request, starting with `/v1/`.
        status_code: HTTP status of the response.
        headers: headers of the response.
        request_id: the server's `X-Request-Id`, or None.
        attempt: 1 for the first attempt.
        elapsed_seconds: seconds from before the request was sent until its body was read; for a stream, until it began.
    """

    method: str
    path: str
    status_code: int
    headers: Mapping[str, str] = field(repr=False)
    request_id: str | None
    attempt: int
    elapsed_seconds: float


def is_hook(hook: object) -> bool:
    """Say whether a hook is None or can be called; a coroutine function would never run."""
    return hook is None or (callable(hook) and not inspect.iscoroutinefunction(hook))
