"""Receives webhook deliveries on a loopback port, and forwards them unchanged."""

from __future__ import annotations

import http
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
import anyio.abc
import asyncclick
import httpx

from .._concurrency import AsyncClock, async_shielded
from .._errors import APIError, NodusError
from .._events import EVENT_TYPES
from .._signing import verify_webhook
from .invocation import Invocation
from .terminal import shell_line

if TYPE_CHECKING:
    from .._async.client import AsyncClient
    from .._resources import Webhook

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 1024 * 1024
MAX_CONNECTIONS = 64
"""How many deliveries are taken at once; others are refused, and delivered again."""

FORWARD_SECONDS = 14.0
"""A little less than the 15 s that the control plane allows for a delivery."""

LEAVING_SECONDS = 5.0
PASSED_ON = frozenset(("content-type", "nodus-signature", "user-agent"))

_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SECRET = re.compile(r"whsec_[0-9a-f]+")


@dataclass(frozen=True)
class ListenOptions:
    """What to receive, and where to forward it.

    Raises:
        BadParameter: a URL is invalid.
    """

    forward_to: str
    events: tuple[str, ...]
    port: int
    public_url: str | None

    def __post_init__(self) -> None:
        for option, url in (("--forward-to", self.forward_to), ("--public-url", self.public_url)):
            if url is not None and not _is_http(url):
                raise asyncclick.BadParameter(f"{url!r} is not an http or https URL.", param_hint=option)
        if self.public_url is not None and self._path_of(self.public_url) != self.path:
            # The signature covers the path that the control plane posts to.
            raise asyncclick.BadParameter(
                f"its path must be {self.path}, like that of --forward-to.", param_hint="--public-url"
            )

    @property
    def path(self) -> str:
        """The path that deliveries are signed for."""
        return self._path_of(self.forward_to)

    def endpoint(self, port: int) -> str:
        """Return the URL to register."""
        return self.public_url or f"http://127.0.0.1:{port}{self.path}"

    def _path_of(self, url: str) -> str:
        return urlsplit(url).path or "/"


@dataclass(frozen=True)
class Delivery:
    """A request that arrived."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class RequestRefused(Exception):
    """A request that is answered with an error, and not forwarded."""

    def __init__(self, status: int) -> None:
        self.status = status


async def listen(invocation: Invocation, options: ListenOptions, *, as_json: bool) -> None:
    """Receive and forward until interrupted.

    Raises:
        NodusError: the endpoint cannot be registered.
    """
    try:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=options.port)
    except OSError as exc:
        raise asyncclick.UsageError(f"cannot listen on port {options.port}: {exc.strerror or exc}.") from exc
    port: int = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, invocation.client() as client:
        hook = await client.webhooks.create(url=options.endpoint(port), events=options.events or EVENT_TYPES)
        try:
            secret = _secret_of(hook)
            if as_json:
                invocation.output.json({"webhook": {"id": hook.id, "url": hook.url, "secret": secret}})
            invocation.output.note(f"Forwarding {hook.url} to {options.forward_to}. Press Ctrl-C to stop.")
            # Quoted, because the line is meant to be pasted and the secret comes from the server.
            invocation.output.note(shell_line("export", f"NODUS_WEBHOOK_SECRET={secret}"))
            async with (
                httpx.AsyncClient(trust_env=False, timeout=FORWARD_SECONDS) as forwarding,
                anyio.create_task_group() as tasks,
            ):
                receiver = _Receiver(invocation, options, secret, forwarding, as_json=as_json)
                receiver.leave = tasks.cancel_scope.cancel
                await listener.serve(receiver.serve, tasks)
        finally:
            # Ctrl-C cancels this task; unshielded, the request that removes the endpoint would be cancelled at once.
            await async_shielded(lambda: _unregister(invocation, client, hook.id), LEAVING_SECONDS)


def _secret_of(hook: Webhook) -> str:
    """Return an endpoint's secret.

    Raises:
        APIError: (`invalid_response`) it is none: without one, no delivery can be told from a forgery.
    """
    if hook.secret is None or not _SECRET.fullmatch(hook.secret):
        raise APIError(
            "The control plane registered the endpoint, but gave it no secret of the form whsec_<hexadecimal digits>, "
            "so nothing is received.",
            code="invalid_response",
        )
    return hook.secret


async def _unregister(invocation: Invocation, client: AsyncClient, webhook_id: str) -> None:
    hurried = client.with_options(timeout=LEAVING_SECONDS, total_timeout=LEAVING_SECONDS)
    try:
        await hurried.webhooks.delete(webhook_id)
    except NodusError as exc:
        delete = shell_line("nodus", "webhooks", "delete", webhook_id)
        invocation.output.note(f"The endpoint is still registered: {delete}")
        invocation.output.note(str(exc))


class _Receiver:
    """Answers connections.

    Attributes:
        leave: ends the listening; called when nobody reads the output any more.
    """

    def __init__(
        self,
        invocation: Invocation,
        options: ListenOptions,
        secret: str,
        forwarding: httpx.AsyncClient,
        *,
        as_json: bool,
    ) -> None:
        self._invocation = invocation
        self._options = options
        self._secret = secret
        self._forwarding = forwarding
        self._as_json = as_json
        self.leave: Callable[[], None] = lambda: None
        self._clock = AsyncClock()
        self._connections = 0

    async def serve(self, stream: anyio.abc.ByteStream) -> None:
        """Receive one delivery, forward it, and pass the answer on."""
        self._connections += 1
        async with stream:
            try:
                with anyio.fail_after(2 * FORWARD_SECONDS):
                    status = 503 if self._connections > MAX_CONNECTIONS else await self._handle(stream)
                    await stream.send(_answer(status))
            except (anyio.BrokenResourceError, anyio.EndOfStream, TimeoutError):
                pass  # the sender has gone, and will deliver again
            finally:
                self._connections -= 1

    async def _handle(self, stream: anyio.abc.ByteStream) -> int:
        try:
            delivery = await _receive(stream)
            self._check(delivery)
        except RequestRefused as exc:
            return exc.status
        started = self._clock.now()
        status, problem = await self._forward(delivery)
        self._show(delivery, status, problem, self._clock.now() - started)
        return status or 502

    def _check(self, delivery: Delivery) -> None:
        path = delivery.target.partition("?")[0]
        if delivery.method != "POST" or path != self._options.path:
            raise RequestRefused(404)
        genuine = verify_webhook(
            signing_secret=self._secret,
            method=delivery.method,
            path=path,
            body=delivery.body,
            signature_header=delivery.headers.get("nodus-signature"),
        )
        if not genuine:
            # Any web page and any user of this machine can post here.
            self._invocation.output.note("A request without a valid signature was refused.")
            raise RequestRefused(401)

    async def _forward(self, delivery: Delivery) -> tuple[int | None, str]:
        headers = {name: value for name, value in delivery.headers.items() if name in PASSED_ON}
        try:
            response = await self._forwarding.post(self._options.forward_to, content=delivery.body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            return None, str(exc) or type(exc).__name__
        return response.status_code, ""

    def _show(self, delivery: Delivery, status: int | None, problem: str, seconds: float) -> None:
        event = _event_of(delivery.body)
        output = self._invocation.output
        latency_ms = math.ceil(seconds * 1000)
        if self._as_json:
            facts = {"status": status, "error": problem or None, "latency_ms": latency_ms, "event": event}
            output.json(facts)
        else:
            outcome = problem if status is None else str(status)
            output.row((event.get("type"), event.get("id"), outcome, f"{latency_ms} ms"))
        if output.reader_gone:
            self.leave()


async def _receive(stream: anyio.abc.ByteReceiveStream) -> Delivery:
    """Read one HTTP/1.1 request, which must have a Content-Length.

    Raises:
        RequestRefused: it is malformed, or too large.
    """
    data = bytearray()
    end = -1
    while end < 0:
        if len(data) > MAX_HEAD_BYTES:
            raise RequestRefused(431)
        searched = max(len(data) - 3, 0)  # searched before; the end may have begun in its last three bytes
        data += await stream.receive()
        end = data.find(b"\r\n\r\n", searched)
    if end > MAX_HEAD_BYTES:
        raise RequestRefused(431)
    method, target, headers, length = parse_head(data[:end].decode("latin-1"))
    body = data[end + 4 :]
    while len(body) < length:
        body += await stream.receive()
    return Delivery(method, target, headers, bytes(body[:length]))


def parse_head(head: str) -> tuple[str, str, dict[str, str], int]:
    """Read the head of an HTTP/1.1 request: its method, target and fields, and how many bytes its body has.

    Raises:
        RequestRefused: it is malformed (400), its body has no Content-Length (411), or that is too large (413).
    """
    first, *lines = head.split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise RequestRefused(400)
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        # Repeated, these could be read in two ways.
        is_repeated = name in headers and name in ("content-length", *PASSED_ON)
        if not colon or not _FIELD_NAME.fullmatch(name) or is_repeated:
            raise RequestRefused(400)
        headers[name] = value.strip(" \t")
    length = headers.get("content-length", "")
    if "transfer-encoding" in headers or not (length.isascii() and length.isdecimal()) or len(length) > 9:
        raise RequestRefused(411)
    if int(length) > MAX_BODY_BYTES:
        raise RequestRefused(413)
    return words[0], words[1], headers, int(length)


def _answer(status: int) -> bytes:
    try:
        reason = http.HTTPStatus(status).phrase
    except ValueError:
        reason = "Status"
    return f"HTTP/1.1 {status} {reason}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()


def _event_of(body: bytes) -> Mapping[str, object]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_plain = url.isascii() and url.isprintable()
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and is_plain
    except ValueError:
        return False
