"""One attempt: sign an event, connect to an address that was judged, post it, and read the endpoint's answer.

The connection goes to the address itself; the endpoint's name is in the `Host` header and in TLS, where the certificate
must be for it. Each attempt has a connection of its own, so that none is shared by names that lead to one address.
Proxies of the environment are ignored: a proxy would look the name up by itself.
"""

from __future__ import annotations

import functools
import ssl
import time
from collections.abc import Callable, Sequence

import anyio
import httpx

import nodus
from nodus_core.webhook_retries import Outcome

from ..version import VERSION
from .addresses import AddressRefused, IPAddress
from .resolving import Destinations, NameNotResolved
from .urls import InvalidUrl, Target, parse_url

TIMEOUT_SECONDS = 15.0
SIGNATURE_HEADER = "Nodus-Signature"

# What a customer reads about an attempt without an answer. No exception's text: it could reveal this machine.
TIMED_OUT = "timed_out"
NOT_ALLOWED = "address_not_allowed"
NOT_RESOLVED = "name_not_resolved"
NOT_CONNECTED = "connection_failed"
NO_TLS = "tls_failed"
NO_ANSWER = "no_valid_answer"

_ONE_USE = httpx.Limits(max_connections=1, max_keepalive_connections=0)


class Sender:
    """Posts events to endpoints."""

    def __init__(
        self,
        destinations: Destinations,
        *,
        trusted: Callable[[], ssl.SSLContext] | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        real_time: Callable[[], float] = time.time,
    ) -> None:
        """`trusted` returns the TLS context for endpoints: by default httpx's, which honours `SSL_CERT_FILE`."""
        self._destinations = destinations
        self._trusted = trusted or _public_authorities
        self._timeout_seconds = timeout_seconds
        self._real_time = real_time

    async def send(self, url: str, body: bytes, secrets: Sequence[str]) -> Outcome:
        """Make one attempt, which takes at most 15 s; a failure of the endpoint is returned, never raised."""
        began = time.perf_counter()
        status_code, error = None, None
        try:
            with anyio.fail_after(self._timeout_seconds):
                status_code = await self._send(url, body, secrets)
        except (TimeoutError, httpx.TimeoutException):
            error = TIMED_OUT
        except (AddressRefused, InvalidUrl):
            error = NOT_ALLOWED
        except NameNotResolved:
            error = NOT_RESOLVED
        except httpx.ConnectError as exc:
            error = NO_TLS if _is_about_tls(exc) else NOT_CONNECTED
        except httpx.ProtocolError:
            error = NO_ANSWER
        except httpx.TransportError:
            error = NOT_CONNECTED
        return Outcome(status_code, round((time.perf_counter() - began) * 1000), error)

    async def _send(self, url: str, body: bytes, secrets: Sequence[str]) -> int:
        target = parse_url(url)
        addresses = await self._destinations.find(target)
        for left in range(len(addresses), 1, -1):
            try:
                return await self._post(target, addresses[-left], body, secrets, self._timeout_seconds / left)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await self._post(target, addresses[-1], body, secrets, self._timeout_seconds)

    async def _post(
        self, target: Target, address: IPAddress, body: bytes, secrets: Sequence[str], connect_seconds: float
    ) -> int:
        trusted = self._trusted() if target.scheme == "https" else _nobody()
        request = request_to(target, address, body, secrets, self._real_time())
        request.extensions["timeout"] = dict.fromkeys(("read", "write", "pool"), self._timeout_seconds) | {
            "connect": connect_seconds
        }
        async with httpx.AsyncHTTPTransport(verify=trusted, trust_env=False, limits=_ONE_USE) as transport:
            response = await transport.handle_async_request(request)
            try:
                return response.status_code
            finally:
                # The body of the answer is not waited for.
                await response.aclose()


def request_to(target: Target, address: IPAddress, body: bytes, secrets: Sequence[str], now: float) -> httpx.Request:
    """Make the request of an attempt: to an address, in the name of a host, signed at a real time."""
    host = f"[{address}]" if address.version == 6 else str(address)
    url = httpx.URL(f"{target.scheme}://{host}:{target.port}{target.request_target}")
    signed_path = url.raw_path.partition(b"?")[0].decode("ascii")
    return httpx.Request(
        "POST",
        url,
        headers=[
            ("Host", target.authority),
            ("User-Agent", f"nodus-webhooks/{VERSION}"),
            ("Content-Type", "application/json"),
            ("Accept", "*/*"),
            ("Connection", "close"),
            (SIGNATURE_HEADER, signature(secrets, signed_path, body, now)),
        ],
        content=body,
        extensions={"sni_hostname": target.host},
    )


def signature(secrets: Sequence[str], path: str, body: bytes, now: float) -> str:
    """Sign with each of several secrets, the current one first: one header with a `v1` for each."""
    headers = [
        nodus.sign_request(signing_secret=secret, method="POST", path=path, body=body, now=now)[SIGNATURE_HEADER]
        for secret in secrets
    ]
    macs = [header.partition(",ts=")[0] for header in headers]
    return ",".join([*macs, f"ts={int(now)}"])


def _is_about_tls(exc: BaseException) -> bool:
    """Say whether a connection failed because of its certificate or handshake."""
    seen: BaseException | None = exc
    while seen is not None:
        if isinstance(seen, ssl.SSLError):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


@functools.lru_cache(maxsize=1)
def _public_authorities() -> ssl.SSLContext:
    return httpx.create_ssl_context()


@functools.lru_cache(maxsize=1)
def _nobody() -> ssl.SSLContext:
    """Return a context that trusts nobody, for connections without TLS: httpx would load all authorities otherwise."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
