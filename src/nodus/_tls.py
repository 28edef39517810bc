"""One TLS context a process, built when the first https connection is: loading the CA certificates takes longest."""

from __future__ import annotations

import os
import ssl
import threading

import httpx

_mutex = threading.Lock()
_contexts: dict[tuple[str | None, str | None], ssl.SSLContext] = {}
_unused = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def tls_context() -> ssl.SSLContext:
    """The context for https, with httpx's defaults; `SSL_CERT_FILE` and `SSL_CERT_DIR` count as in httpx."""
    certificates = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    with _mutex:
        if certificates not in _contexts:
            _contexts[certificates] = httpx.create_ssl_context()
        return _contexts[certificates]


def unused_context() -> ssl.SSLContext:
    """A context without certificates, for plain http: httpx transports want one before they know they need none."""
    return _unused
