"""The rooms of the control plane, and which of them may import which: two tables, held by a walk over the syntax trees.

An import for the type checker alone counts like any other. There are no exceptions: a module that needs something from
a room above it takes it as an argument, or describes it by a protocol.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "control_plane" / "src"
PACKAGES = ["nodus_control", "nodus_core", "nodus_ledger"]

# Each room, and each module that stands in none, with the rooms of the same package that it may import: from the bottom
# up, so that a row names only what stands above it in this table.
ROOMS: dict[str, dict[str, set[str]]] = {
    "nodus_ledger": {
        "errors": set(),
        "migrations": set(),
        "database": {"errors", "migrations"},
        "trust": {"database", "errors"},
        "webhooks": {"database", "errors", "trust"},
        "keys": {"database", "errors", "trust", "webhooks"},
        "jobs": {"database", "errors", "keys", "trust", "webhooks"},
        "start_over": {"database", "jobs", "keys", "trust"},
        "verification": {"database", "errors", "jobs", "trust", "webhooks"},
        "admin": {"database", "errors", "keys", "trust", "verification"},
    },
    "nodus_control": {
        "version": set(),
        "exit_codes": set(),
        "errors": set(),
        "trouble": set(),
        "stripe_settings": set(),
        "readiness": set(),
        "clock": set(),
        "clock_checks": set(),
        "concurrency": set(),
        "clock_watch": {"clock", "clock_checks", "concurrency"},
        "access": {"errors"},
        # Below it is the program that runs beside a command, as a process of its own.
        "runner": set(),
        "suppliers": {"clock", "concurrency", "exit_codes", "runner", "stripe_settings"},
        "streams": {"concurrency", "suppliers", "trouble"},
        "dispatch": {"clock", "concurrency", "suppliers", "trouble"},
        "webhooks": {"clock", "concurrency", "trouble", "version"},
        "metering": {"concurrency", "trouble"},
        "control_plane": {
            "access",
            "clock",
            "clock_watch",
            "concurrency",
            "dispatch",
            "readiness",
            "runner",
            "streams",
            "suppliers",
            "trouble",
            "version",
            "webhooks",
        },
        "api": {
            "access",
            "clock",
            "control_plane",
            "errors",
            "metering",
            "readiness",
            "concurrency",
            "streams",
            "suppliers",
            "trouble",
            "version",
            "webhooks",
        },
        "serving": {"api", "errors", "concurrency", "trouble"},
        "playground": {
            "access",
            "api",
            "clock",
            "control_plane",
            "errors",
            "exit_codes",
            "serving",
            "suppliers",
            "webhooks",
        },
        "attempts": {"clock_watch", "dispatch", "exit_codes", "suppliers"},
        "meter": {"clock_watch", "exit_codes", "metering", "serving", "stripe_settings"},
        "cli": {
            "access",
            "api",
            "attempts",
            "clock_watch",
            "control_plane",
            "exit_codes",
            "meter",
            "metering",
            "serving",
            "suppliers",
            "version",
            "webhooks",
        },
        "entry": {"cli", "exit_codes"},
        "testing": {"access", "api", "clock", "control_plane", "playground", "serving", "suppliers", "webhooks"},
        "pytest_plugin": {"testing"},
    },
}


def modules_of(package: str) -> dict[str, Path]:
    """The modules of a package by their dotted names."""
    found = {}
    for path in sorted((SOURCES / package).rglob("*.py")):
        dotted = path.relative_to(SOURCES).with_suffix("").as_posix().replace("/", ".")
        found[dotted.removesuffix(".__init__")] = path
    return found


def arrows_of(package: str) -> dict[str, set[str]]:
    """Each module of a package with the modules of the same package that it imports, at whatever depth."""
    modules = modules_of(package)
    arrows: dict[str, set[str]] = {}
    for name, path in modules.items():
        targets = {longest_known(each, modules) for each in imported_by(name, path)}
        arrows[name] = {target for target in targets if target not in (None, name)}
    return arrows


def imported_by(name: str, path: Path) -> list[str]:
    """What a module imports, as absolute dotted names; of `from x import y`, `x.y`."""
    found = []
    is_package = path.name == "__init__.py"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = name.split(".")
            parents = parts[: len(parts) - node.level + is_package] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            found += [f"{base}.{alias.name}" for alias in node.names]
    return found


def longest_known(imported: str, modules: Mapping[str, Path]) -> str | None:
    """The module that an import loads: of `nodus_ledger.keys.keys.Keys`, `nodus_ledger.keys.keys`."""
    parts = imported.split(".")
    return next((name for end in range(len(parts), 0, -1) if (name := ".".join(parts[:end])) in modules), None)


def room_of(module: str) -> str:
    """The room of a module, or its own name where it stands in none; empty for the package itself."""
    return ".".join(module.split(".")[1:2])


def circle_in(graph: Mapping[str, set[str]]) -> list[str] | None:
    """A path that leads back to where it began, if there is one."""
    finished: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str] | None:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in finished:
            return None
        for target in sorted(graph.get(name, ())):
            found = visit(target, [*path, name])
            if found:
                return found
        finished.add(name)
        return None

    return next((found for name in sorted(graph) if (found := visit(name, []))), None)


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, None),
        ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, ["b", "c", "b"]),
    ],
)
def test_circles_are_found(graph: dict[str, set[str]], expected: list[str] | None) -> None:
    """The search above is one that can find something."""
    assert circle_in(graph) == expected


@pytest.mark.parametrize("package", sorted(ROOMS))
def test_every_module_is_in_a_room_of_the_table(package: str) -> None:
    """A new module is given its place before it is used, and a room that is gone leaves the table."""
    there = {room_of(module) for module in modules_of(package)} - {""}

    assert there == set(ROOMS[package])


@pytest.mark.parametrize("package", sorted(ROOMS))
def test_every_room_says_what_it_is_for(package: str) -> None:
    """A folder opens with a sentence, as a file does."""
    silent = [
        path.relative_to(ROOT).as_posix()
        for path in modules_of(package).values()
        if path.name == "__init__.py" and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]

    assert silent == []


@pytest.mark.parametrize("package", sorted(ROOMS))
def test_rooms_import_only_what_the_table_says(package: str) -> None:
    """Whoever adds an arrow between rooms says so in the table."""
    wrong = [
        f"{module} imports {target}"
        for module, targets in arrows_of(package).items()
        for target in sorted(targets)
        if room_of(target) not in {room_of(module), *ROOMS[package].get(room_of(module), ())}
    ]

    assert wrong == []


@pytest.mark.parametrize("package", sorted(ROOMS))
def test_every_arrow_of_the_table_is_there(package: str) -> None:
    """An arrow that nobody uses is a door left open."""
    used: dict[str, set[str]] = {room: set() for room in ROOMS[package]}
    for module, targets in arrows_of(package).items():
        used.setdefault(room_of(module), set()).update(room_of(target) for target in targets)
    unused = {
        f"{room} may import {target}"
        for room, targets in ROOMS[package].items()
        for target in targets
        if target not in used[room]
    }

    assert unused == set()


@pytest.mark.parametrize("package", sorted(ROOMS))
def test_a_room_imports_only_rooms_that_stand_above_it_in_the_table(package: str) -> None:
    """So there is an order in which the rooms can be read, and no circle among them."""
    order = list(ROOMS[package])
    wrong = [
        f"{room} imports {target}"
        for room, targets in ROOMS[package].items()
        for target in sorted(targets)
        if order.index(target) >= order.index(room)
    ]

    assert wrong == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_imports_itself_by_way_of_others(package: str) -> None:
    """Not even by a name that only the type checker reads."""
    assert circle_in(arrows_of(package)) is None


def test_only_what_puts_the_api_together_takes_a_whole_control_plane() -> None:
    """What answers a request names the parts of one that it needs."""
    whole = {
        module
        for module, targets in arrows_of("nodus_control").items()
        if room_of(module) == "api" and "nodus_control.control_plane" in targets
    }

    assert whole == {"nodus_control.api.app", "nodus_control.api.operations"}
