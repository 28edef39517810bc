"""Makes text that others wrote fit to be shown: on a terminal, in a log line, in JSON.

A terminal obeys control characters, and bidirectional ones change the order in which it shows what stands around them
(Unicode TR 36). A line break in a log message begins what looks like another entry.
"""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Return a text with every character that is not printable, except the space, escaped as in Python.

    >>> printable("done\x1b[2J\n")
    'done\\x1b[2J\\n'
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def json_escaped(text: str, *, ascii_only: bool = False) -> str:
    r"""Return a JSON document with every character that is not printable escaped as `\uXXXX`; its value is the same.

    Such characters stand inside JSON strings only, but for the white space between tokens, which must be spaces here.

    Args:
        text: the document.
        ascii_only: whether to escape everything beyond ASCII.

    >>> json_escaped('{"id":"\x9b\u202e"}')
    '{"id":"\\u009b\\u202e"}'
    """
    if text.isprintable() and (text.isascii() or not ascii_only):
        return text
    return "".join(
        character if character.isprintable() and (character.isascii() or not ascii_only) else _json_escape(character)
        for character in text
    )


def _json_escape(character: str) -> str:
    # Beyond the first plane, JSON names the two halves of UTF-16 (RFC 8259, section 7).
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
