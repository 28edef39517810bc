"""Who may import whom, and how long a file may be: the project's shape, held by a walk over its syntax trees.

The rules are the tables at the top; the code below only reads imports and compares. An import under `TYPE_CHECKING`
counts like any other.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import nodus

ROOT = Path(__file__).resolve().parents[1]
SDK = ROOT / "src"
CONTROL_PLANE = ROOT / "control_plane" / "src"

# The SDK, from the bottom up. A module imports from its own layer and from those below it, and never in a circle.
LAYERS = [
    {"_deprecation", "_httpx", "_money", "_origin", "_printable", "_transport_errors", "_version"},
    {
        "_arguments",
        "_bodies",
        "_calls",
        "_card",
        "_config",
        "_enums",
        "_errors",
        "_events",
        "_fields",
        "_handles",
        "_job_pages",
        "_hooks",
        "_ledger",
        "_logs",
        "_merkle",
        "_models",
        "_checkpoints",
        "_resources",
        "_replay",
        "_signing",
        "_sse",
        "_statement",
        "_usage",
    },
    {
        "_batches",
        "_concurrency",
        "_failures",
        "_happy_eyeballs",
        "_http",
        "_reconnect",
        "_poll",
        "_proxies",
        "_requests",
        "_resolver",
        "_retry",
        "_sockets",
        "_tls",
        "_tls_failures",
        "_poll_many",
    },
    {"_async", "_sync"},
    {"_cli", "_pyinstaller"},
    {"__main__"},
]

# What is loaded by whom: outside package -> the modules of the SDK that may import it.
OUTSIDE_OF_SDK: dict[str, set[str]] = {
    # The command is the program that starts the event loop, and that receives signals on it.
    "PyInstaller": {"_pyinstaller.hooks"},
    "anyio": {
        "_concurrency",
        "_happy_eyeballs",
        "_resolver",
        "_sockets",
        "_cli.event_loop",
        "_cli.listening",
        "_cli.selection",
    },
    "asyncclick": {"_cli"},
    "cryptography": {"_checkpoints"},
    "httpcore": {"_httpx"},
    "httpcore2": {"_httpx"},  # for the tests alone, like the other
    "httpx": {"_httpx", "_cli.listening"},
    "httpx2": {"_httpx"},
    "pydantic": {"_bodies", "_http", "_job_pages", "_models", "_resources", "_usage"},
    "tomli": {"_cli.sweep_file"},  # before Python 3.11, which brings the next
    "tomllib": {"_cli.sweep_file"},
}
# Who uses the HTTP libraries, by way of `_httpx`.
USES_HTTP_LIBRARIES = {
    "httpcore": {"_async.connection", "_async.network", "_async.pool", "_proxies", "_requests"},
    "httpx": {
        "_async.connection",
        "_async.pool",
        "_async.session",
        "_failures",
        "_proxies",
        "_requests",
        "_tls",
    },
}
# It comes with pydantic; only the type checker may need it.
TYPES_ONLY = {"typing_extensions"}

# Parts of the standard library that wait, or that are of one event loop: who may import them, and what for.
WAITING: dict[str, dict[str, str]] = {
    "asyncio": {},
    "sched": {},
    "select": {},
    "selectors": {"_happy_eyeballs": "a thread that connects to several addresses waits for whichever answers"},
    "time": {
        "_concurrency": "the one place that sleeps and reads the monotonic clock",
        "_events": "the age of a delivery is told by the true time",
        "_http": "the date of a Retry-After that comes without a Date",
        "_signing": "a signature carries the true time",
    },
}

# The attributes of httpx that do I/O, and the modules that may touch them.
IO_OF_HTTPX = {
    "AsyncClient",
    "AsyncHTTPTransport",
    "Client",
    "HTTPTransport",
    "delete",
    "get",
    "head",
    "options",
    "patch",
    "post",
    "put",
    "request",
    "stream",
}
DOES_IO = {
    "_cli.listening",
    "_async.connection",
    "_async.session",
    "_sync.connection",
    "_sync.session",
}

# The control plane: package -> what it may import besides the standard library and itself.
OUTSIDE_OF_CONTROL_PLANE: dict[str, set[str]] = {
    "nodus_core": {"tomli", "tomllib"},  # the first before Python 3.11, which brings the second
    "nodus_ledger": {"alembic", "cryptography", "nodus_core", "psycopg", "redis", "sqlalchemy"},
    "nodus_control": {
        "anyio",
        "asyncclick",
        "cryptography",
        "httpx",
        "nodus",
        "nodus_core",
        "nodus_ledger",
        "pydantic",
        "pytest",  # pytest_plugin.py, which pytest alone loads, and the conformance suite of drivers
        "redis",
        "sqlalchemy",
        "starlette",
        "stripe",
        "trio",  # to reach its event loop from another thread, where the application runs under it
        "typing_extensions",
        "uvicorn",
    },
}

LONGEST_FILE = 500
# Files that may be longer: path -> why.
LONGER: dict[str, str] = {}


class Import(NamedTuple):
    """One imported module, where, and whether only the type checker sees it."""

    module: str
    line: int
    types_only: bool


class Module(NamedTuple):
    """A source file: its dotted name without the package, its path, and what it imports."""

    name: str
    path: Path
    imports: list[Import]

    @property
    def place(self) -> str:
        return self.path.relative_to(ROOT).as_posix()


def imports_of(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[Import]:
    """Every import in a syntax tree, at whatever depth, as absolute names."""
    types_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, id(node) in types_only)
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".")[: len(module.split(".")) - node.level + is_package] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            for alias in node.names:
                # `from . import x` imports the module x; `from .x import y` may import y of x, or the module x.y.
                yield Import(f"{base}.{alias.name}", node.lineno, id(node) in types_only)


def modules_of(root: Path, package: str) -> list[Module]:
    """The modules of a package, each with its imports."""
    found = []
    for path in sorted((root / package).rglob("*.py")):
        dotted = path.relative_to(root).with_suffix("").as_posix().replace("/", ".")
        is_package = dotted.endswith(".__init__")
        dotted = dotted.removesuffix(".__init__")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imports = list(imports_of(tree, dotted, is_package=is_package))
        found.append(Module(dotted.removeprefix(package).removeprefix("."), path, imports))
    return found


def inside(name: str, allowed: Iterable[str]) -> bool:
    """Whether a dotted name is, or lies in, one of those allowed."""
    return any(name == one or name.startswith(one + ".") for one in allowed)


def layer_of(name: str) -> int:
    """The layer in which a module of the SDK stands; the lowest, for one that has none yet."""
    return next((level for level, members in enumerate(LAYERS) if name.split(".")[0] in members), 0)


NODUS = modules_of(SDK, "nodus")
LOWER_NODUS = [module for module in NODUS if module.name]


def test_every_module_of_the_sdk_has_a_layer() -> None:
    """A new module is given its place before it is used."""
    homeless = [module.place for module in LOWER_NODUS if not inside(module.name, set().union(*LAYERS))]

    assert homeless == []


def test_imports_of_the_sdk_point_downwards() -> None:
    """From the command line to the clients, to the decisions, to the models; never back."""
    upwards = [
        f"{module.place}:{imported.line} imports {imported.module}"
        for module in LOWER_NODUS
        for imported in module.imports
        if imported.module.startswith("nodus.")
        and layer_of(imported.module.removeprefix("nodus.")) > layer_of(module.name)
    ]

    assert upwards == []


def test_no_module_of_the_sdk_imports_itself_by_way_of_others() -> None:
    """There is no circle, not even one that happens to work, or one of types."""
    names = {module.name for module in LOWER_NODUS}
    graph = {
        module.name: {
            target
            for imported in module.imports
            if (target := longest_known(imported.module, names)) not in (None, module.name)
        }
        for module in LOWER_NODUS
    }

    assert circle_in(graph) is None


def longest_known(imported: str, names: set[str]) -> str | None:
    """The module of the SDK that an import loads: `nodus._models.JobView` loads `_models`."""
    parts = imported.removeprefix("nodus.").split(".") if imported.startswith("nodus.") else []
    return next((name for end in range(len(parts), 0, -1) if (name := ".".join(parts[:end])) in names), None)


def circle_in(graph: dict[str, set[str]]) -> list[str] | None:
    """A path that leads back to where it began, if there is one."""
    finished: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str] | None:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in finished:
            return None
        for target in sorted(graph[name]):
            found = visit(target, [*path, name])
            if found:
                return found
        finished.add(name)
        return None

    return next((found for name in graph if (found := visit(name, []))), None)


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, None),
        ({"a": {"b", "c"}, "b": {"c"}, "c": set()}, None),
        ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, ["b", "c", "b"]),
    ],
)
def test_circles_are_found(graph: dict[str, set[str]], expected: list[str] | None) -> None:
    """The search above is one that can find something."""
    assert circle_in(graph) == expected


def test_the_sdk_imports_outside_packages_only_where_the_table_says() -> None:
    """Each foreign library is known to few modules, and none is there that is not in the table."""
    wrong = [
        f"{module.place}:{imported.line} imports {imported.module}"
        for module in NODUS
        for imported in module.imports
        if (top := imported.module.split(".")[0]) not in sys.stdlib_module_names
        and top != "nodus"
        and not (imported.types_only and top in TYPES_ONLY)
        and not inside(module.name, OUTSIDE_OF_SDK.get(top, ()))
    ]

    assert wrong == []


@pytest.mark.parametrize("library", USES_HTTP_LIBRARIES)
def test_the_http_libraries_are_used_only_where_the_table_says(library: str) -> None:
    """They come from one module, so that the tests can put their successors in their place."""
    users = {
        module.name.replace("_sync.", "_async.")
        for module in NODUS
        for imported in module.imports
        if imported.module == f"nodus._httpx.{library}"
    }

    assert users == USES_HTTP_LIBRARIES[library]


def test_only_one_module_of_the_sdk_waits() -> None:
    """No event loop is named, and nothing but `_concurrency.py` sleeps."""
    wrong = [
        f"{module.place}:{imported.line} imports {imported.module}"
        for module in NODUS
        for imported in module.imports
        if (top := imported.module.split(".")[0]) in WAITING and not inside(module.name, WAITING[top])
    ]
    sleepers = [
        module.place
        for module in NODUS
        if module.name != "_concurrency" and "time.sleep" in names_used(module) | {i.module for i in module.imports}
    ]

    assert wrong == []
    assert sleepers == []


def test_only_the_session_and_the_pool_do_io_with_httpx() -> None:
    """Elsewhere httpx gives types and errors, and sends nothing."""
    wrong = [
        f"{module.place} uses {name}"
        for module in NODUS
        if module.name not in DOES_IO
        for name in sorted({f"httpx.{name}" for name in IO_OF_HTTPX} & (names_used(module) | names_imported(module)))
    ]

    assert wrong == []


def names_used(module: Module) -> set[str]:
    """Every dotted name in a module, such as `httpx.Client`."""
    tree = ast.parse(module.path.read_text(encoding="utf-8"))
    return {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def names_imported(module: Module) -> set[str]:
    """Every dotted name that a module imports."""
    return {imported.module for imported in module.imports}


def test_the_sdk_knows_nothing_of_the_control_plane() -> None:
    """It is released alone, and talks to it over HTTP only."""
    wrong = [
        f"{module.place}:{imported.line} imports {imported.module}"
        for module in NODUS
        for imported in module.imports
        if imported.module.split(".")[0] in OUTSIDE_OF_CONTROL_PLANE
    ]

    assert wrong == []


@pytest.mark.parametrize("package", sorted(OUTSIDE_OF_CONTROL_PLANE))
def test_the_control_plane_imports_only_what_the_table_says(package: str) -> None:
    """The domain knows nothing, the ledger the domain and the database, the service both."""
    allowed = {package, *OUTSIDE_OF_CONTROL_PLANE[package]}
    wrong = [
        f"{module.place}:{imported.line} imports {imported.module}"
        for module in modules_of(CONTROL_PLANE, package)
        for imported in module.imports
        if (top := imported.module.split(".")[0]) not in sys.stdlib_module_names and top not in allowed
        if not (imported.types_only and top in TYPES_ONLY)
    ]

    assert wrong == []


def test_everything_but_the_sdk_itself_uses_its_public_names_only() -> None:
    """The control plane and the examples stand where a user stands."""
    outsiders = [
        *(module for package in OUTSIDE_OF_CONTROL_PLANE for module in modules_of(CONTROL_PLANE, package)),
        *modules_of(ROOT, "examples"),
    ]
    wrong = [
        f"{module.place}:{imported.line} imports {imported.module}"
        for module in outsiders
        for imported in module.imports
        if imported.module.startswith("nodus.") and imported.module.removeprefix("nodus.") not in nodus.__all__
    ]

    assert wrong == []


def test_the_domain_does_no_io_and_reads_no_clock() -> None:
    """Time is passed in, so that twenty hours take no time in a test."""
    forbidden = {"asyncio", "http", "os", "pathlib", "select", "socket", "sqlite3", "subprocess", "time", "urllib"}
    wrong = [
        f"{module.place}:{imported.line} imports {imported.module}"
        for module in modules_of(CONTROL_PLANE, "nodus_core")
        for imported in module.imports
        if imported.module.split(".")[0] in forbidden
    ]

    assert wrong == []


def hand_written() -> list[Path]:
    """Every Python file of the project that a person wrote."""
    folders = ["benchmarks", "control_plane", "examples", "src", "tests", "tools"]
    files = [ROOT / "noxfile.py", *(path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))]
    return [path for path in files if "_sync" not in path.parts]


def test_no_file_is_longer_than_one_can_keep_in_mind() -> None:
    """Five hundred lines, or a reason in the table."""
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in hand_written()
    }
    too_long = {path: length for path, length in lengths.items() if length > LONGEST_FILE and path not in LONGER}

    assert too_long == {}
    assert [path for path in LONGER if lengths.get(path, 0) <= LONGEST_FILE] == []


def test_the_public_names_are_sorted_and_all_there() -> None:
    """`__all__` is the public surface: each name once, in order, and importable."""
    assert nodus.__all__ == sorted(set(nodus.__all__))
    assert [name for name in nodus.__all__ if not hasattr(nodus, name)] == []


def test_every_stub_is_joined_when_its_test_is_over() -> None:
    """The servers of the standard library leave threads behind: one base joins them; no test has a daemon thread."""
    tests = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "control_plane" / "tests").rglob("*.py")]
    base = ROOT / "tests" / "support" / "joined_server.py"
    servers, daemons = set(), set()
    for path in tests:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {found.module for found in imports_of(tree, "tests.any", is_package=False)}
        if path != base and any(inside(name, ("http.server", "socketserver")) for name in imported):
            servers.add(path.relative_to(ROOT).as_posix())
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        if any(word.arg in ("daemon", "daemon_threads") for call in calls for word in call.keywords):
            daemons.add(path.relative_to(ROOT).as_posix())

    assert servers == set()
    assert daemons == set()
