"""Reads a file of jobs: TOML with the fields of a job, and lists of values in `[matrix]`. Strict, and pure.

The first mistake is told, with the line on which it stands. No message has a value of `[env]`.
"""

from __future__ import annotations

import difflib
import functools
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from .._fields import JOB, require_labels
from .._printable import printable
from .sweeps import MOST_JOBS, count_of, label_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

MATRIX = "matrix"
MOST_BYTES = 1024 * 1024

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Where the parser says that it stopped, in the text of its error only.
_STOPPED_AT = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)\Z")
_CLOSING = ("]", "}", '"""', "'''")

_Path = tuple[str, ...]


class InvalidSweepError(ValueError):
    """A file that cannot be used; the text names it, and the line if there is one."""


@dataclass(frozen=True)
class SweepFile:
    """What a file says.

    Attributes:
        name: what messages call the file.
        fields: the fields that it sets, as `AsyncClient.run` takes them.
        matrix: the values of each variable, as they are written into the environment.
    """

    name: str
    fields: Mapping[str, Any] = field(repr=False)
    matrix: Mapping[str, Sequence[str]]
    _text: str = field(repr=False)

    def place(self, *path: str) -> str:
        """Name the file and the line of a key, or of the nearest thing around it."""
        return f"{self.name}, line {line_at(self._lines, path)}"

    @functools.cached_property
    def _lines(self) -> Mapping[_Path, int]:
        return lines_of(self._text)


def read_sweep(content: bytes, name: str) -> SweepFile:
    """Read the content of a file.

    Args:
        content: TOML in UTF-8.
        name: what messages call the file.

    Raises:
        InvalidSweepError: something in it is wrong.
    """
    text = _decoded(content, name)
    document = _parsed(text, name)
    lists = document.pop(MATRIX, None)
    file = SweepFile(name, {}, {}, text)
    file = replace(file, fields=_fields(file, document))
    return file if lists is None else replace(file, matrix=_matrix(file, lists))


def lines_of(text: str) -> dict[_Path, int]:
    """Return the line, from 1, of each key of a TOML document, by its names from the outermost.

    Args:
        text: a document that can be parsed.

    >>> lines_of('image = "a"\\n[matrix]\\nLR = [\\n 1,\\n]\\nSEED = [1]')
    {('image',): 1, ('matrix',): 2, ('matrix', 'LR'): 3, ('matrix', 'SEED'): 6}
    """
    lines: dict[_Path, int] = {}
    table: _Path = ()
    for line, statement, document in _statements(text):
        paths = list(_paths_in(document))
        is_header = statement.lstrip().startswith("[")
        for path in paths:
            lines.setdefault(path if is_header else (*table, *path), line)
        if is_header:
            table = paths[-1]
    return lines


def line_at(lines: Mapping[_Path, int], path: Sequence[str]) -> int:
    """Return the line of a key, or else of what is nearest around it."""
    wanted = tuple(path)
    while wanted and wanted not in lines:
        wanted = wanted[:-1]
    return lines.get(wanted, 1)


class _Number(float):
    """A number that remembers how it was written: `1e-4` is not `0.0001` to who named it so."""

    written: str

    def __new__(cls, text: str) -> _Number:
        plain = text.replace("_", "")
        number = super().__new__(cls, plain)
        number.written = plain
        return number


def _decoded(content: bytes, name: str) -> str:
    if len(content) > MOST_BYTES:
        raise InvalidSweepError(f"{name}: it is larger than {MOST_BYTES:,} bytes.")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise InvalidSweepError(f"{name}, line {line}: it is not UTF-8 text.") from None


def _parsed(text: str, name: str) -> dict[str, Any]:
    try:
        document: dict[str, Any] = tomllib.loads(text, parse_float=_Number)
        return document
    except tomllib.TOMLDecodeError as exc:
        message = str(exc)
    except (RecursionError, ValueError):
        # ValueError: a number of thousands of digits.
        raise InvalidSweepError(f"{name}: this is no TOML that can be read.") from None
    found = _STOPPED_AT.search(message)
    if found is None:
        raise InvalidSweepError(f"{name}: not TOML: {message}.")
    line = int(found[1]) if found[1] else text.rstrip("\n").count("\n") + 1
    raise InvalidSweepError(f"{name}, line {line}: not TOML: {message[: found.start()]}.")


def _fields(file: SweepFile, document: Mapping[str, object]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, value in document.items():
        if key not in JOB.types:
            known = [*JOB.names, MATRIX]
            nearest = difflib.get_close_matches(key, known, n=1)
            advice = f"did you mean `{nearest[0]}`?" if nearest else f"known are {', '.join(known)}."
            _refuse(file.place(key), f"`{key}` is no field of a job; {advice}")
        is_right, meaning = _KINDS[JOB.types[key]]
        if meaning == _TABLE and isinstance(value, dict):
            for inner, item in value.items():
                if not isinstance(item, str):
                    rule = "must be a string: put quotes around it." if _is_scalar(item) else "must be a string."
                    _refuse(file.place(key, inner), f"`{key}.{inner}` {rule}")
        if not is_right(value):
            _refuse(file.place(key), f"`{key}` must be {meaning}, not {_kind_of(value)}.")
        fields[key] = float(value) if isinstance(value, _Number) else value
    return fields


def _matrix(file: SweepFile, lists: object) -> dict[str, list[str]]:
    if not isinstance(lists, dict):
        _refuse(file.place(MATRIX), f"`{MATRIX}` must be a table of lists: [{MATRIX}], and a line LR = [0.1, 0.01].")
    if not lists:
        _refuse(file.place(MATRIX), f"[{MATRIX}] is empty: add a list such as LR = [0.1, 0.01], or leave it out.")
    matrix: dict[str, list[str]] = {}
    by_label: dict[str, str] = {}
    for variable, values in lists.items():
        place, label = file.place(MATRIX, variable), label_of(variable)
        if not _VARIABLE.fullmatch(variable):
            _refuse(place, f"{variable!r} cannot be an environment variable: use letters, digits and '_'.")
        if label in by_label:
            _refuse(place, f"`{variable}` and `{by_label[label]}` would both be the label `{label}`: rename one.")
        for table, taken in (("env", variable), ("labels", label)):
            if taken in (file.fields.get(table) or {}):
                _refuse(place, f"`{variable}` would also set `{table}.{taken}` of this file: remove one of the two.")
        by_label[label] = variable
        matrix[variable] = _values(place, variable, values)
    count = count_of(matrix)
    if count > MOST_JOBS:
        most = f"at most {MOST_JOBS:,} are submitted at once"
        _refuse(file.place(MATRIX), f"these are {count:,} combinations, and {most}: shorten a list.")
    return matrix


def _values(place: str, variable: str, values: object) -> list[str]:
    if not isinstance(values, list):
        _refuse(place, f"`{variable}` must be a list, such as [0.1, 0.01], not {_kind_of(values)}.")
    if not values:
        _refuse(place, f"`{variable}` is empty, so there would be no job: give it a value, or remove it.")
    texts: dict[str, None] = {}
    for value in values:
        if not _is_scalar(value):
            _refuse(place, f"`{variable}` must have strings, numbers and booleans only, not {_kind_of(value)}.")
        text = _written(value)
        if text in texts:
            _refuse(place, f"`{variable}` has {text!r} twice: remove one.")
        texts[text] = None
        try:
            require_labels({label_of(variable): text})
        except ValueError as exc:
            _refuse(place, f"`{variable}` cannot be the label `{label_of(variable)}`: labels {exc}.")
    return list(texts)


def _written(value: object) -> str:
    """Return a value as text: a string as it is, everything else as TOML has it."""
    if isinstance(value, _Number):
        return value.written
    return str(value).lower() if isinstance(value, bool) else str(value)


def _refuse(place: str, message: str) -> NoReturn:
    # A key may be any text, and the file somebody else's.
    raise InvalidSweepError(printable(f"{place}: {message}"))


def _is_scalar(value: object) -> bool:
    return isinstance(value, (str, int, float))


def _kind_of(value: object) -> str:
    for kind, shown in _SHOWN_KINDS.items():
        if isinstance(value, kind):
            return shown
    return "a date or time"


def _are_texts(values: object, kind: type) -> bool:
    if not isinstance(values, kind) or not isinstance(values, Iterable):
        return False
    return all(isinstance(each, str) for each in (values.values() if isinstance(values, dict) else values))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_SHOWN_KINDS: Mapping[type, str] = {
    bool: "a boolean",
    str: "a string",
    int: "a whole number",
    float: "a number with decimals",
    list: "a list",
    dict: "a table",
}
_TABLE = "a table of strings"
_TEXT = (lambda value: isinstance(value, str), "a string")
_WHOLE = (lambda value: _is_number(value) and isinstance(value, int), "a whole number")
_TEXTS = (lambda value: _are_texts(value, list), "a list of strings")

# By type, as `JobFields` has it: what TOML has for it.
_KINDS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "str": _TEXT,
    "str | None": _TEXT,
    "GpuType | str": _TEXT,
    "int": _WHOLE,
    "int | None": _WHOLE,
    "float | None": (_is_number, "a number"),
    "Sequence[str] | None": _TEXTS,
    "Sequence[SupplierKind | str] | None": _TEXTS,
    "Mapping[str, str] | None": (lambda value: _are_texts(value, dict), _TABLE),
}


def _statements(text: str) -> Iterator[tuple[int, str, Mapping[str, object]]]:
    """Divide a document into headers and pairs, each with its line, and parsed alone.

    Both end with a line, and nothing that is not complete can be parsed: so the parser says where the next one begins.
    """
    statement, first = "", 1
    for number, line in enumerate(text.split("\n"), start=1):
        statement += f"{line}\n"
        # Only these close what goes on for several lines; trying every line of a long list would take long.
        if number != first and not any(mark in line for mark in _CLOSING):
            continue
        try:
            document = tomllib.loads(statement)
        except ValueError:
            continue
        yield first, statement, document
        statement, first = "", number + 1


def _paths_in(document: Mapping[str, object]) -> Iterator[_Path]:
    """Return the path of every key, an outer one before those in it."""
    for key, value in document.items():
        yield (key,)
        if isinstance(value, dict):
            yield from ((key, *inner) for inner in _paths_in(value))
