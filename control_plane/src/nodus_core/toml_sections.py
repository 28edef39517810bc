"""Reads the values of a TOML document one by one, and collects what is wrong with them, each with its line."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar, cast

from .money import MICROS_PER_USD
from .suppliers_file import EnvReference, FileReference, Reference
from .toml_lines import Path, line_at

MAX_USD_PER_GPU_HOUR = 1_000_000

_MOST_DIGITS = 28  # as many as `Decimal` computes with
_SHOWABLE_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")

T = TypeVar("T")


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """A mistake in a file: the line on which it is, from 1, and what to do about it."""

    line: int
    message: str


class Findings:
    """The mistakes that have been found in a document so far."""

    def __init__(self, lines: Mapping[Path, int]) -> None:
        self._lines = lines
        self.problems: list[Problem] = []

    def report(self, path: Path, message: str) -> None:
        """Add a mistake at a path."""
        self.problems.append(Problem(line_at(self._lines, path), message))


class Section:
    """A table of the document, of which each key is read once; `close` reports those that nobody asked for.

    What is missing or wrong is reported and read as the default, so that reading goes on to the next mistake. No
    message repeats a value: one of them may be a secret that does not belong there.

    Args:
        findings: where mistakes are collected.
        table: the table; None for one that is not there.
        path: where it is.
        shown: what messages call it, such as `supplier "lab"`.
    """

    def __init__(self, findings: Findings, table: Mapping[str, Any] | None, path: Path, shown: str) -> None:
        self._findings = findings
        self._table = table or {}
        self.is_there = table is not None
        self.path = path
        self.shown = shown
        self._known: list[str] = []

    def has(self, key: str) -> bool:
        """Say whether a key is given."""
        return key in self._table

    def peek(self, key: str) -> Any:
        """Return a value as it came, or None; it has yet to be read."""
        return self._table.get(key)

    def report(self, key: str | None, message: str, *inside: str | int) -> None:
        """Report a mistake at a key, at something inside its value, or at the table itself (None)."""
        path = self.path if key is None else (*self.path, key, *inside)
        self._findings.report(path, f"{self.shown}: {message}")

    def take(self, key: str) -> Any:
        """Return a value as it came, or None; the key counts as known."""
        self._known.append(key)
        return self._table.get(key)

    def require(self, key: str, meaning: str) -> None:
        """Report a key that must be given and is not, in a table that is there."""
        if self.is_there and key not in self._table:
            self.report(None, f"`{key}` is missing: {meaning}.")

    def text(
        self, key: str, pattern: re.Pattern[str], meaning: str, default: T, *, make: Callable[[re.Match[str]], Any]
    ) -> Any | T:
        """Read a string that matches a pattern, and make its value of the match."""
        value = self.take(key)
        if value is None:
            return default
        found = pattern.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            self.report(key, f"`{key}` must be {meaning}.")
            return default
        return make(found)

    def string(self, key: str, pattern: re.Pattern[str], meaning: str) -> str | None:
        """Read a string that matches a pattern."""
        found: str | None = self.text(key, pattern, meaning, None, make=lambda match: match.group())
        return found

    def choice(self, key: str, choices: Sequence[str], default: str) -> str:
        """Read one of some strings."""
        value = self.take(key)
        if value is None:
            return default
        if value not in choices:
            self.report(key, f"`{key}` must be one of {_listed(choices)}.")
            return default
        return cast("str", value)

    def boolean(self, key: str, *, default: bool = False) -> bool:
        """Read `true` or `false`."""
        value = self.take(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.report(key, f"`{key}` must be true or false, without quotes.")
            return default
        return value

    def integer(self, key: str, limits: tuple[int, int], default: T) -> int | T:
        """Read a whole number within limits, both included."""
        value = self.take(key)
        if value is None:
            return default
        if not is_integer(value, limits):
            self.report(key, f"`{key}` must be a whole number from {limits[0]} to {limits[1]}.")
            return default
        return cast("int", value)

    def number(self, key: str, highest: float, default: T, *, is_positive: bool = False) -> float | T:
        """Read a number from 0, or above 0, to `highest`."""
        value = self.take(key)
        if value is None:
            return default
        number = as_number(value)
        if number is None or not 0 <= number <= highest or (is_positive and number == 0):
            span = f"above 0 and at most {highest:g}" if is_positive else f"from 0 to {highest:g}"
            self.report(key, f"`{key}` must be a number {span}.")
            return default
        return number

    def gibibytes(self, key: str, default: T, *, is_positive: bool = True) -> int | T:
        """Read an amount of GiB, in bytes."""
        amount = self.number(key, 1 << 20, None, is_positive=is_positive)
        return default if amount is None else round(amount * 2**30)

    def strings(self, key: str, pattern: re.Pattern[str], meaning: str) -> tuple[str, ...] | None:
        """Read a list of strings that match a pattern; None where it is not given, or is wrong."""
        value = self.take(key)
        if value is None:
            return None
        if not isinstance(value, list):
            self.report(key, f"`{key}` must be a list of strings: {meaning}.")
            return None
        wrong = [place for place, item in enumerate(value) if not isinstance(item, str) or not pattern.fullmatch(item)]
        for place in wrong:
            self.report(key, f"each item of `{key}` must be {meaning}.", place)
        return None if wrong else tuple(value)

    def mapping(
        self,
        key: str,
        names: re.Pattern[str],
        meaning: str,
        read: Callable[[Any], T | None],
        value_meaning: str,
    ) -> dict[str, T] | None:
        """Read a table of values by names that match a pattern; None where it is not given, or is wrong."""
        value = self.take(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.report(key, f"`{key}` must be a table: {meaning}, each with {value_meaning}.")
            return None
        found: dict[str, T] = {}
        is_right = True
        for name, each in value.items():
            if not names.fullmatch(name):
                is_right = False
                self.report(key, f"a name in `{key}` must be {meaning}.", name)
                continue
            read_value = read(each)
            if read_value is None:
                is_right = False
                self.report(key, f"{name} in `{key}` must be {value_meaning}.", name)
            else:
                found[name] = read_value
        return found if is_right else None

    def reference(self, key: str, meaning: str) -> Reference | None:
        """Read a reference to a secret."""
        value = self.take(key)
        if value is None:
            self.require(key, meaning)
            return None
        found = as_reference(value)
        if found is None:
            self.report(key, f"`{key}` must be {REFERENCE_MEANING}.")
        return found

    def section(self, key: str, shown: str) -> Section:
        """Return a table inside this one; one that `is_there` no more than what was written."""
        value = self.take(key)
        if value is not None and not isinstance(value, dict):
            self.report(key, f"`{key}` must be a table.")
            value = None
        return Section(self._findings, value, (*self.path, key), shown)

    def close(self, hints: Mapping[str, str] | None = None) -> None:
        """Report the keys that nobody asked for, with the hint there is for one of that name."""
        for key in self._table:
            if key in self._known:
                continue
            hint = (hints or {}).get(key)
            if hint is not None:
                self.report(key, hint)
                continue
            near = difflib.get_close_matches(key[:64], self._known, n=1)
            asked = f" Did you mean `{near[0]}`?" if near else ""
            shown = f"`{key}` is no key here" if _SHOWABLE_KEY.match(key) else "there is an unknown key here"
            self.report(key, f"{shown}: the keys are {_listed(self._known)}.{asked}")


REFERENCE_MEANING = (
    "a reference to the secret, `env:NAME` or `file:PATH` with an absolute path: the secret itself never stands in "
    "this file"
)


def as_reference(value: object) -> Reference | None:
    """Return the reference that a value is; None if it is none."""
    if not isinstance(value, str):
        return None
    scheme, _, rest = value.partition(":")
    if scheme == "env" and _VARIABLE.match(rest):
        return EnvReference(rest)
    if scheme == "file" and rest.startswith("/") and rest.isprintable():
        return FileReference(rest)
    return None


def as_number(value: object) -> float | None:
    """Return the finite number that a value is; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return None
    return number if math.isfinite(number) else None


def as_micros(value: object) -> int | None:
    """Return an exact price in micro-USD; None for what is no price of at most six decimals and a million dollars."""
    if is_integer(value, (0, MAX_USD_PER_GPU_HOUR)):
        return cast("int", value) * MICROS_PER_USD
    if not isinstance(value, Decimal) or not value.is_finite() or not 0 <= value <= MAX_USD_PER_GPU_HOUR:
        return None
    _sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int) or len(digits) > _MOST_DIGITS or exponent < -_MOST_DIGITS:
        return None
    micros = value * MICROS_PER_USD
    return int(micros) if micros == micros.to_integral_value() else None


def is_integer(value: object, limits: tuple[int, int]) -> bool:
    """Say whether a value is a whole number within limits, both included."""
    return isinstance(value, int) and not isinstance(value, bool) and limits[0] <= value <= limits[1]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
