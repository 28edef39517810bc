"""Which proxy a request goes through, by the environment: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`."""

from __future__ import annotations

import urllib.request

import httpx

from ._tls import tls_context


def environment_proxy(scheme: str, host: str) -> httpx.Proxy | None:
    """Give the proxy for an origin, or None to connect to it directly.

    Args:
        scheme: `"http"` or `"https"`.
        host: the origin's host, without its port.
    """
    proxies = urllib.request.getproxies()
    address = proxies.get(scheme) or proxies.get("all")
    if not address or urllib.request.proxy_bypass(host):
        return None
    url = httpx.URL(address if "://" in address else f"http://{address}")
    return httpx.Proxy(url, ssl_context=tls_context() if url.scheme == "https" else None)
