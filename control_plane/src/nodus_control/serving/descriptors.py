"""How many connections this process may have open: each is a file descriptor, and databases and files need some too."""

from __future__ import annotations

RESERVED = 192
"""Left for the database, files, and connections that were accepted but are not counted yet."""

ADVISED = 4096
"""Fewer than this many open files are few for a server."""

MOST_CONNECTIONS = 8192
_FEWEST_CONNECTIONS = 32
_ENOUGH = 65_536


def raise_limit() -> int:
    """Raise this process's limit of open files as far as it may be; return what it is now."""
    try:
        import resource
    except ImportError:
        return _ENOUGH
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < most:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        except (OSError, ValueError):
            most = soft
    return most if soft == resource.RLIM_INFINITY else max(soft, most)


def limit_now() -> int:
    """Return this process's limit of open files."""
    try:
        import resource
    except ImportError:
        return _ENOUGH
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _ENOUGH if soft == resource.RLIM_INFINITY else soft


def most_connections(limit: int) -> int:
    """Return how many connections fit into a limit of open files."""
    return max(_FEWEST_CONNECTIONS, min(MOST_CONNECTIONS, limit - RESERVED))
