"""One TLS context per process, built with the first https connection, because loading CA certificates is slow."""

from __future__ import annotations

import os
import ssl
import threading

import httpx

from ._errors import ConfigurationError

_mutex = threading.Lock()
_contexts: dict[tuple[str | None, str | None], ssl.SSLContext] = {}
_unused = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def tls_context() -> ssl.SSLContext:
    """The context for https, with httpx's defaults; `SSL_CERT_FILE` and `SSL_CERT_DIR` work as in httpx.

    Raises:
        ConfigurationError: (`invalid_ca_certificates`) the certificates that these two name cannot be read.
    """
    certificates = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    context = _contexts.get(certificates)
    if context is not None:
        return context
    with _mutex:
        if certificates not in _contexts:
            try:
                _contexts[certificates] = httpx.create_ssl_context()
            except OSError as exc:
                raise ConfigurationError(
                    f"The CA certificates cannot be loaded ({exc}): check SSL_CERT_FILE and SSL_CERT_DIR.",
                    code="invalid_ca_certificates",
                ) from exc
        return _contexts[certificates]


def unused_context() -> ssl.SSLContext:
    """A context without certificates, for plain http: httpx transports want one before they know they need none."""
    return _unused


def _renew_mutex() -> None:
    global _mutex
    _mutex = threading.Lock()


if hasattr(os, "register_at_fork"):
    # A thread of the parent may hold it at the moment of the fork, and does not exist in the child to release it.
    os.register_at_fork(after_in_child=_renew_mutex)
