"""Settings that are secret, or hold a secret: given as they are, or as `file:PATH` of a file that holds them.

What stands in the arguments of a process, everybody on its machine can read, and what stands in its environment,
whatever runs as the same user.
"""

from __future__ import annotations

from pathlib import Path

_FILE = "file:"


class UnreadableUrl(Exception):
    """The file that is to hold a URL cannot be read, or holds none; the message says which."""


class UnreadableFile(Exception):
    """The file that is to hold a setting cannot be read, or holds nothing; the message says which."""


def file_of(given: str) -> Path | None:
    """Return the file that is given as `file:PATH`; None where the setting itself is given."""
    return Path(given.removeprefix(_FILE)) if given.startswith(_FILE) else None


def text_of(given: str, what: str) -> str:
    """Return a setting: as given, or from its file, without white space around it.

    Args:
        given: the setting, or `file:PATH`.
        what: what the file must hold, for the message.

    Raises:
        UnreadableFile: there is no such file, or it is empty.
    """
    path = file_of(given)
    if path is None:
        return given
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise UnreadableFile(f"{path}: {getattr(exc, 'strerror', None) or 'not UTF-8'}") from exc
    if not text or text.startswith(_FILE):
        raise UnreadableFile(f"{path}: it must hold {what}, and nothing else")
    return text


def url_of(given: str) -> str:
    """Return a URL: the one given, or the one in the file that is given as `file:PATH`.

    Raises:
        UnreadableUrl: there is no such file, or it is empty.
    """
    try:
        return text_of(given, "the URL")
    except UnreadableFile as exc:
        raise UnreadableUrl(str(exc)) from exc
