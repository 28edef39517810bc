"""The container's environment, from `nodus run --env NAME=VALUE`, `--env NAME` and `--env-file`.

No message here contains a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path


class EnvironmentValueError(ValueError):
    """An assignment that cannot be understood, or a variable to copy that is not set."""


def collect(assignments: Iterable[str], files: Iterable[str], source: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the container; `--env` takes precedence over files, later over earlier.

    Args:
        assignments: `NAME=VALUE`, or `NAME` to copy from `source`.
        files: paths of files with one such assignment per line; blank lines and lines that start with `#` are skipped,
            and values are taken literally, quotes included.
        source: the environment of this process.

    Raises:
        EnvironmentValueError: an assignment or a file that cannot be used.
    """
    variables: dict[str, str] = {}
    for path in files:
        for number, line in enumerate(_read_lines(path), start=1):
            if line.strip() and not line.lstrip().startswith("#"):
                name, value = _parse(line.lstrip(), source, where=f"{path}, line {number}")
                variables[name] = value
    for assignment in assignments:
        name, value = _parse(assignment, source, where="--env")
        variables[name] = value
    return variables


def names(assignments: Iterable[str]) -> list[str]:
    """Return the names alone, each once."""
    return list(dict.fromkeys(assignment.partition("=")[0] for assignment in assignments))


def _parse(assignment: str, source: Mapping[str, str], *, where: str) -> tuple[str, str]:
    name, equals, value = assignment.partition("=")
    if not equals:
        name = name.rstrip()
    if not name or any(character.isspace() for character in name):
        raise EnvironmentValueError(f"{where}: expected NAME=VALUE, or NAME to copy it from the environment.")
    if equals:
        return name, value
    if name not in source:
        raise EnvironmentValueError(f"{where}: {name} is not set in your environment, so it cannot be copied.")
    return name, source[name]


def _read_lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8-sig").split("\n")
    except OSError as exc:
        raise EnvironmentValueError(f"{path}: {exc.strerror or 'it cannot be read'}.") from exc
    except UnicodeDecodeError as exc:
        raise EnvironmentValueError(f"{path}: it is not UTF-8 text.") from exc
