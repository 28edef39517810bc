"""How many requests a key may send. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_MOST_PER_SECOND = 1_000_000
_MOST_BURST = 10_000_000
_BURST_SECONDS = 4
_TEXT = re.compile(r"([0-9]{1,9})/s(?::([0-9]{1,9}))?\Z", re.ASCII)

OFF = "off"


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A token bucket: `per_second` tokens come in a second, and it holds `burst`."""

    per_second: float
    burst: float

    def divided(self, parts: int) -> RateLimit:
        """Return the part of each of several that count by themselves; each may send one request at least."""
        return self if parts == 1 else RateLimit(self.per_second / parts, max(1.0, self.burst / parts))


@dataclass(frozen=True, slots=True)
class OwnLimit:
    """A key's own limit; a `value` of None is none at all."""

    value: RateLimit | None


KEY_LIMIT = RateLimit(50, 200)
ADDRESS_LIMIT = RateLimit(20, 100)


def parse_rate_limit(text: str) -> RateLimit | None:
    """Read `N/s` or `N/s:BURST`; a burst that is not given is four seconds' worth. `off` is None.

    Raises:
        ValueError: it is none of these.
    """
    if text == OFF:
        return None
    found = _TEXT.match(text)
    if found is not None:
        per_second = int(found.group(1))
        burst = int(found.group(2)) if found.group(2) else _BURST_SECONDS * per_second
        if 1 <= per_second <= _MOST_PER_SECOND and 1 <= burst <= _MOST_BURST:
            return RateLimit(per_second, burst)
    raise ValueError(f"{text!r} is no rate limit: give N/s or N/s:BURST, such as 50/s:200, or off")


def rate_limit_text(limit: RateLimit | None) -> str:
    """Write a limit as it is read."""
    return OFF if limit is None else f"{limit.per_second:g}/s:{limit.burst:g}"
