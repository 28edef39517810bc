"""One TLS context per process, built with the first https connection, because loading CA certificates is slow."""

from __future__ import annotations

import os
import ssl
import threading

from ._errors import ConfigurationError
from ._httpx import httpx
from ._logs import logger

_Certificates = tuple["str | None", "str | None"]
_Stamp = tuple[int, int, int]

_mutex = threading.Lock()
_contexts: dict[_Certificates, tuple[_Stamp | None, ssl.SSLContext]] = {}
_unused = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def tls_context() -> ssl.SSLContext:
    """The context for https, with httpx's defaults; `SSL_CERT_FILE` and `SSL_CERT_DIR` work as in httpx.

    A file that was changed or replaced is read again. While it cannot be read, as in the middle of being replaced, the
    certificates from before stay in use.

    Raises:
        ConfigurationError: (`invalid_ca_certificates`) the certificates that these two name cannot be read.
    """
    certificates = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    stamp = _stamp(certificates[0])
    known = _contexts.get(certificates)
    if known is not None and known[0] == stamp:
        return known[1]
    with _mutex:
        known = _contexts.get(certificates)
        if known is not None and known[0] == stamp:
            return known[1]
        try:
            if known is not None:
                # httpx 0.27 takes a file that is not there for no file at all.
                os.stat(certificates[0] or os.curdir)
            context = httpx.create_ssl_context()
        except OSError as exc:
            problem = f"The CA certificates cannot be loaded ({exc}): check SSL_CERT_FILE and SSL_CERT_DIR."
            if known is None:
                raise ConfigurationError(problem, code="invalid_ca_certificates") from exc
            logger.warning("%s Those from before stay in use.", problem)
            return known[1]
        _contexts[certificates] = stamp, context
        return context


def unused_context() -> ssl.SSLContext:
    """A context without certificates, for plain http: httpcore would load certificates that it does not need."""
    return _unused


def _stamp(path: str | None) -> _Stamp | None:
    """What changes with a file's content; None if there is no file."""
    try:
        status = os.stat(path) if path else None
    except (OSError, ValueError):
        return None
    return None if status is None else (status.st_mtime_ns, status.st_ino, status.st_size)


def _renew_mutex() -> None:
    global _mutex
    _mutex = threading.Lock()


if hasattr(os, "register_at_fork"):
    # A thread of the parent may hold it at the moment of the fork, and does not exist in the child to release it.
    os.register_at_fork(after_in_child=_renew_mutex)
