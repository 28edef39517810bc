"""What the pages for developers name is there: paths, modules, classes, functions, constants."""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs" / "development").rglob("*.md"))]
SOURCES = [ROOT / "src", ROOT / "control_plane" / "src", ROOT]
"""What module names, and paths on the pages, begin at."""
PLACES = [*SOURCES, ROOT / "control_plane"]
CODE = ["src/nodus", "control_plane/src", "tools"]
"""Where the names are defined."""

MADE_LATER = {".venv", "artifacts", "dist"}
"""Folders that the project's tools make: paths into them need not exist."""
OF_TESTS = {"both_engines", "usual_limits"}
"""Marks and fixtures, which only tests have."""
FOREIGN = {"httpcore", "httpx", "anyio", "sqlalchemy", *sys.stdlib_module_names}

BLOCK = re.compile(r"^```\w*\n(.*?)^```|^((?: {4}[^\n]*\n)+)", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"`([^`\n]+)`")
PATH = re.compile(
    r"""(?<![\w/.`-])
    (?: [\w.-]*\w (?:/[\w.-]*\w)* \.(?:json|md|py|toml|ya?ml)\b    # a file
    | (?:[\w.-]*\w/)+ (?![\w(])                                     # a folder
    | [\w.-]*\w (?:/[\w.-]*\w)+ )                                    # whatever else has a slash
    """,
    re.VERBOSE,
)
DOTTED = re.compile(r"(?<![\w/.-])[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+(?![\w/-])")
CALL = re.compile(r"(?<![\w.])([A-Za-z_]\w*)\(\)")
HUMPS = re.compile(r"(?<![\w./-])[A-Z][a-z0-9]+(?:[A-Z][a-z0-9]*)+(?![\w./-])")
CLASS_ALONE = re.compile(r"[A-Z]\w*[a-z]\w*\Z")
SNAKE = re.compile(r"(?<![\w./-])_?[a-z][a-z0-9]*(?:_[a-z0-9]+)+(?![\w./-])")
CONSTANT = re.compile(r"(?<![\w.])(?!NODUS_)[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+(?![\w.])")
"""Those that begin with NODUS are variables of the environment."""


def page_name(page: Path) -> str:
    """How a page is called in a test's name."""
    return page.relative_to(ROOT).as_posix()


def code_in(text: str) -> Iterator[tuple[str, bool]]:
    """Yield what is set as code, each with whether it is a whole block."""
    for block in BLOCK.finditer(text):
        yield block[1] or block[2] or "", True
    for span in SPAN.finditer(BLOCK.sub("\n", text)):
        yield span[1], False


def named_in(text: str) -> tuple[set[str], set[str]]:
    """Return the paths and the names in what a page sets as code."""
    paths: set[str] = set()
    names: set[str] = set()
    for code, is_block in code_in(text):
        paths |= set(PATH.findall(code))
        rest = PATH.sub(" ", code)
        names |= {found[0] for pattern in (DOTTED, HUMPS, SNAKE, CONSTANT) for found in pattern.finditer(rest)}
        names |= set(CALL.findall(rest))
        if not is_block and CLASS_ALONE.match(code):
            names.add(code)
    return (
        {path for path in paths if path.removeprefix("../").split("/")[0] not in MADE_LATER},
        {name for name in names if name.split(".")[0] not in FOREIGN and not hasattr(builtins, name)},
    )


def defined_in(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    """Yield the dotted names of what a module or a class defines."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield f"{prefix}.{node.name}"
        elif isinstance(node, ast.ClassDef):
            yield f"{prefix}.{node.name}"
            yield from defined_in(node.body, f"{prefix}.{node.name}")
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (f"{prefix}.{target.id}" for target in targets if isinstance(target, ast.Name))


@cache
def known_names() -> frozenset[str]:
    """Every name that the code defines, with its endings (`nodus_core.money.usd`, `money.usd`, `usd`), and its texts.

    The texts are for names that are values, such as the kinds of rows in the ledger.
    """
    full: set[str] = set()
    texts: set[str] = set()
    for path in sorted(path for folder in CODE for path in (ROOT / folder).rglob("*.py")):
        start = next(place for place in SOURCES if path.is_relative_to(place))
        module = path.relative_to(start).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        full |= {module, *defined_in(tree.body, module)}
        texts |= {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
    parts = [name.split(".") for name in full]
    return frozenset(".".join(each[at:]) for each in parts for at in range(len(each))) | texts | OF_TESTS


def unknown_in(text: str) -> set[str]:
    """Return what a page names and nothing has: no file for a path, no definition for a name."""
    paths, names = named_in(text)
    return {path for path in paths if not is_there(path)} | (names - known_names())


def is_there(path: str) -> bool:
    """Whether there is something at a path; of a bare name, somewhere among the code."""
    if any((place / path).exists() for place in PLACES):
        return True
    return "/" not in path and any(any((ROOT / folder).rglob(path)) for folder in CODE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("`nodus/_retry.py`, `tools/`, `RetryState`, `_retry.BASE_DELAY`, `is_transient()`, `.venv/bin/pytest`", set()),
        ("`nodus/_again.py`, `again.py`, `unasync_build.py`", {"nodus/_again.py", "again.py"}),
        ("see `nodus/again/`", {"nodus/again/"}),
        ("`RetryState.give_up`, and `nodus._retry.RetryState`", {"RetryState.give_up"}),
        ("`give_in()` of `Retries`, after `MOST_RETRIES`", {"give_in", "Retries", "MOST_RETRIES"}),
        ("```text\nAsyncSession._send -> send_never nodus/_no.py\n```", {"send_never", "nodus/_no.py"}),
        ("`POST /v1/jobs`, `NODUS_LOG`, `FOR UPDATE SKIP LOCKED`, `httpx.Client`, `FutureWarning`, Retries", set()),
    ],
)
def test_names_that_nothing_has_are_found(text: str, expected: set[str]) -> None:
    """The search of the tests below is one that can find something, and takes nothing else for a name."""
    assert unknown_in(text) == expected


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_what_a_page_names_is_there(page: Path) -> None:
    """Whoever renames or moves something finds here which page speaks of it."""
    assert unknown_in(page.read_text(encoding="utf-8")) == set()


def test_every_room_of_the_control_plane_is_on_the_page() -> None:
    """A new folder gets its line there."""
    packages = [ROOT / "control_plane" / "src" / name for name in ("nodus_core", "nodus_ledger", "nodus_control")]
    rooms = [folder.parent for package in packages for folder in sorted(package.glob("*/__init__.py"))]
    text = (ROOT / "docs" / "development" / "architecture.md").read_text(encoding="utf-8")

    assert [room.name for room in rooms if f"`{room.parent.name}/{room.name}/`" not in text] == []
