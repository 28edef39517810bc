"""Where the keys of a TOML document stand: the lines that parsers do not tell.

The text must be one that `read_toml` has read without an error: nothing is checked again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from .toml import read_toml

Path = tuple[str | int, ...]

_SPACE = re.compile(r"[ \t]*")
_BETWEEN = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'|[A-Za-z0-9_-]+')
# With up to two more quotes at the end, which belong to the text.
_LONG_BASIC = re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}', re.DOTALL)
_LONG_LITERAL = re.compile(r"'''.*?'{3,5}", re.DOTALL)
_BASIC = re.compile(r'"(?:[^"\\]|\\.)*"')
_LITERAL = re.compile(r"'[^']*'")
_PLAIN = re.compile(r"[^,\]}#\r\n]+")


def lines_of(text: str) -> Mapping[Path, int]:
    """Return the line, from 1, on which each key, table and array item of a document begins.

    A path has the names of keys and the positions of items: `("supplier", 0, "docker", "endpoint")`.

    >>> lines_of('[[supplier]]\\nname = "lab"')
    {(): 1, ('supplier',): 1, ('supplier', 0): 1, ('supplier', 0, 'name'): 2}
    """
    return _Scanner(text).lines


def line_at(lines: Mapping[Path, int], path: Path) -> int:
    """Return the line of a path, or of the nearest thing around it that has one."""
    while path not in lines:
        path = path[:-1]
    return lines[path]


class _Scanner:
    """Goes through a document once, from the beginning to the end."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._counted = 0
        self._sizes: dict[Path, int] = {}
        self.lines: dict[Path, int] = {(): 1}
        table: Path = ()
        self._skip(_BETWEEN)
        while self._at < len(text):
            if text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BETWEEN)

    def _header(self) -> Path:
        line = self._line_here()
        is_item = self._text.startswith("[[", self._at)
        self._at += 2 if is_item else 1
        *outer, last = self._key()
        self._at += 2 if is_item else 1
        path: Path = ()
        for name in outer:
            path = self._enter((*path, name), line)
        path = (*path, last)
        if is_item:
            self._note(path, line)
            position = self._sizes.get(path, 0)
            self._sizes[path] = position + 1
            path = (*path, position)
            self.lines[path] = line
        else:
            # A table that its own sub-tables have named before is where its header is.
            self.lines[path] = line
        return path

    def _enter(self, path: Path, line: int) -> Path:
        """Return the path of a table that a header passes through: in an array of tables, of its last one."""
        self._note(path, line)
        return (*path, self._sizes[path] - 1) if path in self._sizes else path

    def _pair(self, table: Path) -> None:
        line = self._line_here()
        path = table
        for name in self._key():
            path = (*path, name)
            self._note(path, line)
        self._skip(_SPACE)
        self._at += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)

    def _value(self, path: Path) -> None:
        first = self._text[self._at]
        if first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        elif first == '"':
            self._skip(_LONG_BASIC if self._text.startswith('"""', self._at) else _BASIC)
        elif first == "'":
            self._skip(_LONG_LITERAL if self._text.startswith("'''", self._at) else _LITERAL)
        else:
            self._skip(_PLAIN)

    def _array(self, path: Path) -> None:
        self._at += 1
        position = 0
        self._skip(_BETWEEN)
        while self._text[self._at] != "]":
            item = (*path, position)
            self.lines[item] = self._line_here()
            self._value(item)
            position += 1
            self._skip_comma()
        self._at += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        self._skip(_BETWEEN)
        while self._text[self._at] != "}":
            self._pair(path)
            self._skip_comma()
        self._at += 1

    def _skip_comma(self) -> None:
        self._skip(_BETWEEN)
        if self._text[self._at] == ",":
            self._at += 1
            self._skip(_BETWEEN)

    def _key(self) -> list[str]:
        """Read a key, with the dots in it, and stop behind it."""
        names = []
        while True:
            self._skip(_SPACE)
            found = _KEY.match(self._text, self._at)
            assert found is not None
            self._at = found.end()
            names.append(_name(found.group()))
            self._skip(_SPACE)
            if self._text[self._at] != ".":
                return names
            self._at += 1

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self._text, self._at)
        assert found is not None
        self._at = found.end()

    def _note(self, path: Path, line: int) -> None:
        self.lines.setdefault(path, line)

    def _line_here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line


def _name(written: str) -> str:
    """Return what a part of a key says, without its quotes and escapes."""
    if written[0] not in "\"'":
        return written
    name: str = read_toml(f"name = {written}")["name"]
    return name
