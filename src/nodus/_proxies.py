"""Which proxy a request goes through, by the environment: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`.

Requests to this machine go through none, whatever the environment says (as in Go): plain http is allowed there because
it does not leave the machine, and a proxy would be given the API key in clear.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import re
import urllib.request

from ._config import is_loopback
from ._errors import ConfigurationError
from ._httpx import httpcore, httpx
from ._tls import tls_context
from ._transport_errors import CONNECTING, PROXY, TIMEOUTS, is_of_transport, means, package_of

_SOCKS = ("socks5", "socks5h")
_SCHEMES = ("http", "https", *_SOCKS)
_DEFAULT_PORTS = {"http": 80, "https": 443}

_FINAL_REFUSAL = re.compile(
    r"(?!408|425|429)[1-4]\d\d\b"
    r"|Invalid username/password|Requested .* from proxy server"
    r"|.*(?:Connection not allowed by ruleset|Command not supported|Address type not supported)"
)
"""The refusals, in httpcore's words, that come again: a status below 500, and what SOCKS says of the request itself."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def environment_proxy(scheme: str, host: str, port: int | None = None) -> httpx.Proxy | None:
    """Return the proxy for an origin, or None to connect to it directly.

    Where no variable is set, the settings of Windows and macOS count.

    Args:
        scheme: `"http"` or `"https"`.
        host: the origin's host.
        port: the origin's port, if it is not the scheme's default.

    Raises:
        ConfigurationError: (`invalid_proxy`) the environment names a proxy that cannot be used.
    """
    if is_loopback(host):
        return None
    environment = urllib.request.getproxies_environment()
    proxies = environment or urllib.request.getproxies()
    address = proxies.get(scheme) or proxies.get("all")
    if not address or _is_direct(host, port or _DEFAULT_PORTS[scheme], environment):
        return None
    try:
        url = httpx.URL(address if "://" in address else f"http://{address}")
    except httpx.InvalidURL:
        url = httpx.URL()
    # The address is not repeated in the errors: it may hold the proxy's password.
    if not url.host or url.scheme not in _SCHEMES:
        raise _invalid("is not the URL of an http, https or socks5 proxy")
    if url.scheme in _SOCKS and importlib.util.find_spec("socksio") is None:
        raise _invalid("needs the package socksio: `pip install socksio`")
    try:
        return httpx.Proxy(url, ssl_context=tls_context() if url.scheme == "https" else None)
    except ValueError:
        # httpx before 0.28 knows no socks5h; its socks5 leaves names to the proxy too.
        return httpx.Proxy(url.copy_with(scheme="socks5"))


def for_httpcore(proxy: httpx.Proxy) -> httpcore.Proxy:
    """The same proxy, as httpcore takes it."""
    url = proxy.url
    return httpcore.Proxy(
        httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        auth=proxy.raw_auth,
        headers=proxy.headers.raw,
        ssl_context=proxy.ssl_context,
    )


def is_exempt(host: str, port: int, no_proxy: str) -> bool:
    """Whether `NO_PROXY` says that a host is reached directly.

    Its entries are separated by commas or spaces: `*` (every host), a name (its subdomains too, with or without a dot
    or `*.` before it), an address, or a range of addresses (`10.0.0.0/8`, `fd00::/8`). A name or an address may be
    followed by a port; an IPv6 address may be in brackets.
    """
    host = host.lower().rstrip(".")
    address = _address(host)
    return any(_matches(entry, host, address, port) for entry in re.split(r"[\s,]+", no_proxy.lower()))


def may_be_of_proxy(exc: Exception) -> bool:
    """Whether a proxy may be at fault: the network failed, or a SOCKS proxy spoke another protocol."""
    return is_of_transport(exc) or package_of(type(exc)) == "socksio"


def through_proxy(
    exc: Exception, proxy: httpx.Proxy, url: httpx.URL, *, is_connected: bool, is_open: bool
) -> Exception:
    """Say of a failed request that it went through a proxy, and what to do if that is at fault.

    The class says whether the request may have been sent, and whether time ran out.

    Args:
        exc: how sending it failed.
        proxy: the proxy; its password is not repeated.
        url: where the request was to go.
        is_connected: whether a connection to the proxy was made.
        is_open: whether the way to the server was open, so that the request may have been sent.
    """
    detail = str(exc).rstrip(".") or type(exc).__name__
    is_late = means(exc, TIMEOUTS)
    # Over a connection to a proxy, the TLS handshake with the server, or with an https proxy, failed.
    is_handshake = is_connected and means(exc, CONNECTING)
    if is_of_transport(exc) and (is_open or is_handshake):
        return type(exc)(f"{detail} (through the proxy {proxy.url})")
    if is_late and is_connected:
        return httpcore.ConnectTimeout(f"{detail} (through the proxy {proxy.url})")
    server = _authority(url)
    advice = "check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY"
    if not is_connected:
        problem = f"cannot be reached: {detail}"
    elif not means(exc, PROXY):
        problem = f"did not connect to {server}: {detail}"
    else:
        problem = f"refused to connect to {server}: {detail}"
        if detail.startswith("407"):
            advice = "put a user name and a password that it accepts into its URL (http://user:password@host:port)"
    text = f"{proxy.url} {problem}; {advice}, or add {url.host} to NO_PROXY."
    return httpcore.ConnectTimeout(f"the proxy {text}") if is_late else httpcore.ProxyError(text)


def is_final_refusal(reason: str) -> bool:
    """Whether a proxy that refused for this reason, in httpcore's words, would refuse again."""
    return _FINAL_REFUSAL.match(reason) is not None


def needs_brackets(proxy: httpx.Proxy, host: str) -> bool:
    """Whether a proxy must be sent `BracketedURL`s of a host."""
    return ":" in host and proxy.url.scheme not in _SOCKS


class BracketedURL(httpx.URL):
    """A URL whose IPv6 address stays in brackets on its way to an http proxy, which is sent an authority (RFC 3986).

    httpx and httpcore take them off, and do not put them back.
    """

    @property
    def raw_host(self) -> bytes:
        return b"[%b]" % super().raw_host


def _is_direct(host: str, port: int, environment: dict[str, str]) -> bool:
    if environment:
        return is_exempt(host, port, environment.get("no", ""))
    return bool(urllib.request.proxy_bypass(f"{host}:{port}"))


def _matches(entry: str, host: str, address: _Address | None, port: int) -> bool:
    if entry in ("", "*"):
        return entry == "*"
    name, entry_port = _split(entry)
    if entry_port not in (None, port):
        return False
    if address is not None:
        network = _network(name)
        return network is not None and address in network
    name = name.removeprefix("*").strip(".")
    return name != "" and (host == name or host.endswith(f".{name}"))


def _split(entry: str) -> tuple[str, int | None]:
    """Split an entry into what is before the port, without brackets, and the port."""
    name, colon, port = entry.rpartition(":")
    if colon and port.isdecimal() and (":" not in name or name.endswith("]")):
        return name.strip("[]"), int(port)
    return entry.replace("[", "").replace("]", ""), None


def _address(host: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(_address(text) or text, strict=False)
    except ValueError:
        return None


def _authority(url: httpx.URL) -> str:
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{host}:{url.port or _DEFAULT_PORTS[url.scheme]}"


def _invalid(problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"The proxy that the environment names (HTTPS_PROXY, HTTP_PROXY or ALL_PROXY) {problem}.", code="invalid_proxy"
    )
