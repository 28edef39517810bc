"""Who may see the page of a playground that really runs commands: it carries API keys.

A code opens it once, in one browser, which gets a session for it. Whoever reads the code later, in a history or a
scroll-back, reads something that opens nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading


class Visitors:
    """The codes that have not been used, and the sessions that they were exchanged for. Thread-safe.

    A browser sends a cookie to every port of a host, and on a shared machine another port is another user's server. So
    a session is two secrets: a cookie, which no script can read, and a proof that the page keeps in the storage of its
    own origin, which no other port gets. Neither opens anything alone.
    """

    def __init__(self) -> None:
        self._codes: set[bytes] = set()
        self._sessions: dict[bytes, bytes] = {}
        self._lock = threading.Lock()
        # Two playgrounds on one host would overwrite each other's cookie under the same name.
        self.cookie_name = f"nodus_page_{secrets.token_hex(4)}"

    def new_code(self) -> str:
        """Make a code, which `exchange` takes once."""
        code = secrets.token_urlsafe(24)
        with self._lock:
            self._codes.add(_digest(code))
        return code

    def exchange(self, code: str, proof: str) -> str | None:
        """Use up a code; return the cookie of the session that it begins, or None if it opens nothing (any more)."""
        cookie = secrets.token_urlsafe(24)
        with self._lock:
            if _digest(code) not in self._codes:
                return None
            self._codes.remove(_digest(code))
            self._sessions[_digest(cookie)] = _digest(proof)
        return cookie

    def admits(self, cookie: str, proof: str) -> bool:
        """Say whether these two belong to one session."""
        with self._lock:
            expected = self._sessions.get(_digest(cookie))
        return expected is not None and hmac.compare_digest(expected, _digest(proof))


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
