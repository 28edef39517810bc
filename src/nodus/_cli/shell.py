"""Command lines that are printed to be pasted into a shell."""

from __future__ import annotations

import shlex


def shell_line(*words: str) -> str:
    """Return a command line of exactly these words, whoever wrote them, without a character that steers a terminal."""
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    # `$'…'` is known to bash, zsh, ksh and POSIX.1-2024.
    return "$'" + "".join(map(_escaped, word)) + "'"


def _escaped(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    if character.isprintable():
        return character
    # A byte of the command line that was no UTF-8 is a surrogate in Python (PEP 383).
    errors = "surrogateescape" if "\udc80" <= character <= "\udcff" else "surrogatepass"
    # Octal, because a hexadecimal escape goes on for as long as digits follow it in some shells.
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", errors))
