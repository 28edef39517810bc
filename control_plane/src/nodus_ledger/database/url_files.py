"""URLs with passwords in them: given as they are, or as `file:PATH`, which keeps them out of lists of processes."""

from __future__ import annotations

from pathlib import Path

_FILE = "file:"


class UnreadableUrl(Exception):
    """The file that is to hold a URL cannot be read, or holds none; the message says which."""


def url_of(given: str) -> str:
    """Return a URL: the one given, or the one in the file that is given as `file:PATH`, without white space around it.

    Raises:
        UnreadableUrl: there is no such file, or it is empty.
    """
    if not given.startswith(_FILE):
        return given
    path = Path(given.removeprefix(_FILE))
    try:
        url = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise UnreadableUrl(f"{path}: {getattr(exc, 'strerror', None) or 'not UTF-8'}") from exc
    if not url or url.startswith(_FILE):
        raise UnreadableUrl(f"{path}: it must hold the URL, and nothing else")
    return url
