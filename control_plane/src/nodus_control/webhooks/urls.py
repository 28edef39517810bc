"""The URL of an endpoint, read strictly: what two programs could read differently is refused."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from .addresses import is_name, numeric_ipv4

MAX_URL_LENGTH = 2048

_DEFAULT_PORTS = {"http": 80, "https": 443}
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?\Z")
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?\Z")
# RFC 3986, sections 3.3 and 3.4.
_PATH = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*\Z")
_QUERY = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*\Z")


class InvalidUrl(Exception):
    """Events cannot be delivered to such a URL; the message says why, without repeating it."""


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed URL.

    Attributes:
        scheme: `http` or `https`.
        host: a name in lower case, or an address in its usual spelling, without brackets.
        is_address: whether `host` is an address.
        port: as given, or the scheme's.
        path: percent-encoded, from `/` on: what is signed.
        query: without the question mark; None for none.
    """

    scheme: str
    host: str
    is_address: bool
    port: int
    path: str
    query: str | None

    @property
    def authority(self) -> str:
        """The value of the `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def request_target(self) -> str:
        """Path and query, as they go on the wire."""
        return self.path if self.query is None else f"{self.path}?{self.query}"


def parse_url(url: str) -> Target:
    """Read the URL of an endpoint.

    Raises:
        InvalidUrl: it is too long, not `http` or `https`, has user info or a fragment, or is malformed.
    """
    if len(url) > MAX_URL_LENGTH:
        raise InvalidUrl(f"must have at most {MAX_URL_LENGTH} characters")
    found = _URL.match(url)
    if found is None:
        raise InvalidUrl("must be an absolute URL, such as https://hooks.example.com/nodus")
    scheme, authority, path, query, fragment = found.groups()
    scheme = scheme.lower()
    if scheme not in _DEFAULT_PORTS:
        raise InvalidUrl("must begin with https://")
    if "@" in authority:
        raise InvalidUrl("must not have a user name or password")
    if fragment is not None:
        raise InvalidUrl("must not have a fragment")
    if not _PATH.match(path) or (query is not None and not _QUERY.match(query)):
        raise InvalidUrl("must percent-encode whatever may not stand in a path or query as it is")
    host, is_address, port = _read_authority(authority, scheme)
    return Target(scheme, host, is_address, port, _without_dots(path or "/"), query)


def _read_authority(authority: str, scheme: str) -> tuple[str, bool, int]:
    found = _AUTHORITY.match(authority)
    if found is None:
        raise InvalidUrl("must have a host: a name in ASCII, or an address")
    bracketed, name, digits = found.groups()
    port = _DEFAULT_PORTS[scheme] if digits is None else int(digits)
    if not 0 < port < 65_536:
        raise InvalidUrl("must have a port from 1 to 65535")
    try:
        if bracketed is not None:
            return str(ipaddress.IPv6Address(bracketed)), True, port
        host = name.lower().removesuffix(".")
        address = numeric_ipv4(host)
    except ValueError:
        raise InvalidUrl("has a host that is neither a name nor an address") from None
    if address is not None:
        return str(address), True, port
    if not is_name(host):
        raise InvalidUrl("has a host that is neither a name nor an address")
    return host, False, port


def _without_dots(path: str) -> str:
    """Remove `.` and `..` as in RFC 3986, section 5.2.4: senders do it anyhow, and the path that is sent is signed."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for number, segment in enumerate(segments):
        is_last = number == len(segments) - 1
        if segment == "..":
            if kept:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
            continue
        if is_last:
            kept.append("")
    return "/" + "/".join(kept)
