"""A client's settings: explicit argument, else environment variable, else default; checked before anything is sent."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from ._errors import ConfigurationError

DEFAULT_BASE_URL = "https://api.nodus.run"
DEFAULT_TIMEOUT = 30.0
DEFAULT_MAX_RETRIES = 2
DEFAULT_MAX_CONNECTIONS = 100

MAX_SECONDS = 1_000_000.0
"""A socket takes timeouts below 2**31 milliseconds; this is a round number below that."""

_TOKEN = re.compile(r"[\x21-\x7e]+\Z")
_HOST = re.compile(r"[A-Za-z0-9._:%\[\]-]+\Z")
_PATH_PREFIX = re.compile(r"[!-\"$->@-~]*\Z")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_HEADER_VALUE = re.compile(r"(?:[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)?\Z")
_OWN_HEADERS = frozenset(
    (
        "accept",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "host",
        "idempotency-key",
        "nodus-signature",
        "transfer-encoding",
        "x-nodus-retry-count",
    )
)


@dataclass(frozen=True, slots=True)
class Settings:
    """Checked settings. Credentials stay out of the `repr`."""

    api_key: str = field(repr=False)
    base_url: str
    timeout: float = DEFAULT_TIMEOUT
    max_retries: int = DEFAULT_MAX_RETRIES
    total_timeout: float | None = None
    max_connections: int = DEFAULT_MAX_CONNECTIONS
    signing_secret: str | None = field(default=None, repr=False)
    extra_headers: tuple[tuple[str, str], ...] = ()

    def changed(
        self,
        *,
        timeout: float | None,
        max_retries: int | None,
        total_timeout: float | None,
        headers: Mapping[str, str] | None,
    ) -> Settings:
        """Return settings that differ where an argument is not None; `headers` are added to those already there.

        Raises:
            ConfigurationError: (`invalid_configuration`) a value is invalid.
        """
        total = self.total_timeout if total_timeout is None else positive_seconds("total_timeout", total_timeout)
        return replace(
            self,
            timeout=self.timeout if timeout is None else positive_seconds("timeout", timeout),
            max_retries=self.max_retries if max_retries is None else retry_count(max_retries),
            total_timeout=total,
            extra_headers=_merge(self.extra_headers, _extra_headers(headers or {})),
        )

    @classmethod
    def resolve(
        cls,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        max_retries: int = DEFAULT_MAX_RETRIES,
        total_timeout: float | None = None,
        max_connections: int = DEFAULT_MAX_CONNECTIONS,
        signing_secret: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Settings:
        """Fill in from the environment what was not given, and check everything.

        Raises:
            ConfigurationError: `missing_api_key`, `invalid_api_key`, `invalid_signing_secret`, `invalid_base_url`,
                `insecure_base_url` or `invalid_configuration`.
        """
        env = os.environ if environ is None else environ
        # A secret belongs to a key: one from the environment must not sign for a key from elsewhere.
        if api_key is None:
            api_key = env.get("NODUS_API_KEY")
            if signing_secret is None:
                signing_secret = env.get("NODUS_SIGNING_SECRET") or None
        if base_url is None:
            base_url = env.get("NODUS_BASE_URL") or DEFAULT_BASE_URL
        return cls(
            api_key=_api_key(api_key),
            base_url=_base_url(base_url, allow_insecure=env.get("NODUS_ALLOW_INSECURE") == "1"),
            timeout=positive_seconds("timeout", timeout),
            max_retries=retry_count(max_retries),
            total_timeout=None if total_timeout is None else positive_seconds("total_timeout", total_timeout),
            max_connections=_max_connections(max_connections),
            signing_secret=_signing_secret(signing_secret),
        )


def positive_seconds(name: str, value: object) -> float:
    """Return the setting `name`, a number of seconds above zero, as a float."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= MAX_SECONDS:
        return float(value)
    raise ConfigurationError(f"`{name}` must be a number of seconds above 0, up to {MAX_SECONDS:,.0f}, not {value!r}.")


def retry_count(value: object) -> int:
    """Return `max_retries`, a whole number of at least 0."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ConfigurationError(f"`max_retries` must be a whole number of at least 0 (0 disables retries), not {value!r}.")


def _extra_headers(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Check headers that the user adds to every request; of the SDK's own, only `User-Agent` can be replaced."""
    for name, value in headers.items():
        if not _is_text(name, _HEADER_NAME) or not _is_text(value, _HEADER_VALUE):
            raise ConfigurationError(f"The header {name!r} has a name or a value that HTTP does not allow.")
        if name.lower() in _OWN_HEADERS:
            raise ConfigurationError(f"The header {name!r} is set by the SDK and cannot be replaced.")
    return _merge((), tuple(headers.items()))


def _merge(first: tuple[tuple[str, str], ...], then: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Combine headers; of those with the same name, in whatever case, the last wins."""
    return tuple({name.lower(): (name, value) for name, value in (*first, *then)}.values())


def _is_text(value: object, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and pattern.match(value) is not None


def _max_connections(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise ConfigurationError(f"`max_connections` must be a whole number of at least 1, not {value!r}.")


def _api_key(value: object) -> str:
    if value is not None and not isinstance(value, str):
        raise ConfigurationError("`api_key` must be a string.", code="invalid_api_key")
    # A key read from a file or a CI secret often ends in a line break.
    key = (value or "").strip()
    if not key:
        raise ConfigurationError(
            "No API key: set the environment variable NODUS_API_KEY, or pass api_key=.", code="missing_api_key"
        )
    if not _TOKEN.match(key):
        raise ConfigurationError(
            "The API key has a space, a control or a non-ASCII character: copy the whole key again.",
            code="invalid_api_key",
        )
    return key


def _signing_secret(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError("`signing_secret` must be a non-empty string.", code="invalid_signing_secret")
    return value.strip()


def _base_url(value: object, *, allow_insecure: bool) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(
            "`base_url` must be a string such as 'https://api.nodus.run'.", code="invalid_base_url"
        )
    text = value.strip()
    if not text.isprintable():
        # `urlsplit` drops line breaks, and so would read another URL than the user sees.
        raise ConfigurationError("`base_url` has a control character.", code="invalid_base_url")
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
        if "[" in url.netloc:
            ipaddress.IPv6Address(host or "")
    except ValueError as exc:
        raise ConfigurationError("`base_url` is not a URL.", code="invalid_base_url") from exc
    if url.scheme not in ("http", "https") or not host or not _HOST.match(host) or port == 0:
        raise ConfigurationError(
            f"`base_url` must look like 'https://api.nodus.run', not {_without_userinfo(text)!r}.",
            code="invalid_base_url",
        )
    if url.username is not None or url.password is not None:
        raise ConfigurationError("`base_url` must not carry a user name or password.", code="invalid_base_url")
    if url.query or url.fragment or "?" in text or "#" in text or not _PATH_PREFIX.match(url.path):
        raise ConfigurationError(
            "`base_url` must not have a query or a fragment, and its path must be percent-encoded.",
            code="invalid_base_url",
        )
    if url.scheme == "http" and not allow_insecure and not is_loopback(host):
        raise ConfigurationError(
            f"Refusing to send an API key over plain http to {host!r}: use https, or set NODUS_ALLOW_INSECURE=1 if you "
            "must.",
            code="insecure_base_url",
        )
    return f"{url.scheme}://{url.netloc}{url.path.rstrip('/')}"


def is_loopback(host: str) -> bool:
    """Whether a host name or address is loopback: this machine itself. Names under `localhost` are (RFC 6761)."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _without_userinfo(text: str) -> str:
    return re.sub(r"//[^/@]*@", "//…@", text)
