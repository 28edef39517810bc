"""Nobody reaches into what is not theirs: private names of other libraries, and of other classes.

An attribute that begins with an underscore is read from `self`, `cls`, or a class of the same file. What else is read
is in the tables, each with its reason; a table that holds more than is read fails too.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = [
    "src/nodus",
    "control_plane/src/nodus_core",
    "control_plane/src/nodus_ledger",
    "control_plane/src/nodus_control",
]
OURS = {package.rpartition("/")[2] for package in PACKAGES}

# Names of the standard library that are public in spite of their underscore.
DOCUMENTED = re.compile(r"_exit|_fields|_make|_asdict|_replace|_[a-z0-9_]*[a-z]_")

# Of classes of ours: (file, what is read) -> why.
OWN: dict[tuple[str, str], str] = {
    ("src/nodus/_async/client.py", "child._session"): "a client makes another one like itself",
    ("src/nodus/_async/completion.py", "job._update"): "who polls for many jobs hands each its view",
    ("src/nodus/_async/job.py", "other._session"): "two handles are compared",
    ("src/nodus/_async/polling.py", "job._update"): "who polls for a job hands it its view",
}

# Of other libraries: (file, what is read) -> why.
FOREIGN: dict[tuple[str, str], str] = {
    ("src/nodus/_httpx.py", "inner._connection"): "bytes after a response, in `has_unread_bytes`",
    ("src/nodus/_httpx.py", "inner._h11_state"): "the same",
}

BY_NAME = {"delattr", "getattr", "hasattr", "setattr"}


def private_reads(tree: ast.AST) -> Iterator[str]:
    """What is read of others in a file, such as `transport._pool`."""
    classes = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner, name = node.value, node.attr
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in BY_NAME and len(node.args) > 1:
            argument = node.args[1]
            if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
                continue
            owner, name = node.args[0], argument.value
        else:
            continue
        is_private = name.startswith("_") and not name.endswith("__") and not DOCUMENTED.fullmatch(name)
        if is_private and ast.unparse(owner) not in {"self", "cls", *classes}:
            yield f"{ast.unparse(owner)}.{name}"


def private_imports(tree: ast.AST) -> Iterator[str]:
    """The private modules and names of other libraries that a file imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            top, *below = name.split(".")
            if top not in {"__future__", *OURS} and any(part.startswith("_") for part in (top, *below)):
                yield name


def files_of(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def found_in(package: str) -> Iterator[tuple[str, str, str]]:
    """File, file it was generated from or itself, and what is read there."""
    for path in files_of(package):
        place = path.relative_to(ROOT).as_posix()
        for read in private_reads(ast.parse(path.read_text(encoding="utf-8"))):
            yield place, place.replace("/_sync/", "/_async/"), read


@pytest.mark.parametrize("package", PACKAGES)
def test_private_attributes_are_read_only_by_their_owners(package: str) -> None:
    """Another library may rename its own in any release, and a class of ours in any commit."""
    allowed = {*OWN, *FOREIGN}

    assert [(place, read) for place, source, read in found_in(package) if (source, read) not in allowed] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_private_modules_of_other_libraries_are_not_imported(package: str) -> None:
    """What they are called, and what is in them, is theirs alone."""
    wrong = [
        (path.relative_to(ROOT).as_posix(), name)
        for path in files_of(package)
        for name in private_imports(ast.parse(path.read_text(encoding="utf-8")))
    ]

    assert wrong == []


def test_every_exception_is_needed() -> None:
    """One that nobody uses is a door left open."""
    used = {(source, read) for package in PACKAGES for _, source, read in found_in(package)}

    assert {*OWN, *FOREIGN} == used


def test_other_libraries_are_reached_into_in_one_place() -> None:
    """In one guarded read."""
    assert {place for place, _ in FOREIGN} == {"src/nodus/_httpx.py"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("self._a; cls._b; x.c; x.__dict__", []),
        ("transport._pool.connections", ["transport._pool"]),
        ("self._transport._pool", ["self._transport._pool"]),
        ("getattr(inner, '_state', None); setattr(y, '_z', 1); getattr(y, name)", ["inner._state", "y._z"]),
        ("class Own: ...\nOwn._method; Row._make(r); os._exit(0); E.a._value_", []),
    ],
)
def test_reads_are_found(source: str, expected: list[str]) -> None:
    """The search above is one that can find something."""
    assert list(private_reads(ast.parse(source))) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import httpcore; from httpx import Client; from . import _own; from nodus._retry import x", []),
        ("from httpcore._backends.sync import SyncStream", ["httpcore._backends.sync.SyncStream"]),
        ("import a._b; from a import _c", ["a._b", "a._c"]),
    ],
)
def test_imports_are_found(source: str, expected: list[str]) -> None:
    """So is this."""
    assert list(private_imports(ast.parse(source))) == expected
