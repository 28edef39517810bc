"""Which proxy a request goes through, by the environment: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`."""

from __future__ import annotations

import importlib.util
import urllib.request

import httpx

from ._errors import ConfigurationError
from ._tls import tls_context

_SOCKS = ("socks5", "socks5h")
_SCHEMES = ("http", "https", *_SOCKS)


def environment_proxy(scheme: str, host: str, port: int | None = None) -> httpx.Proxy | None:
    """Return the proxy for an origin, or None to connect to it directly.

    Args:
        scheme: `"http"` or `"https"`.
        host: the origin's host.
        port: the origin's port, if it is not the scheme's default.

    Raises:
        ConfigurationError: (`invalid_proxy`) the environment names a proxy that cannot be used.
    """
    proxies = urllib.request.getproxies()
    address = proxies.get(scheme) or proxies.get("all")
    if not address or urllib.request.proxy_bypass(host if port is None else f"{host}:{port}"):
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
        raise _invalid(f"is of a kind, {url.scheme}, that this httpx does not know") from None


def _invalid(problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"The proxy that the environment names (HTTPS_PROXY, HTTP_PROXY or ALL_PROXY) {problem}.", code="invalid_proxy"
    )
