"""Write the `_sync/` folders from their `_async/` twins, or check that they are what would be written.

    python tools/unasync_build.py            write src/nodus/_sync and tests/_sync, delete what has no source
    python tools/unasync_build.py --check    write nothing; print what differs, as file:line, and exit 1

The text is always built in a temporary folder and only then compared or copied, so a failure half-way leaves the tree
as it was. What unasync does not do is done here: words are renamed in comments, docstrings and strings too, `await`
goes from `>>>` lines, f-strings come out the same on every Python, and a name that has no rename is an error where
unasync would guess one.

Exit status: 0 all is as it should be, 1 something is not, 2 the tool itself cannot run.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

try:
    from tokenize_rt import Token, src_to_tokens, tokens_to_src
    from unasync import Rule
except ImportError as missing:
    print(
        f"tools/unasync_build.py needs {missing.name}, which this Python ({sys.executable}) does not have: "
        "install the dependency group `generate`, or run `python3 tools/dev.py drift`.",
        file=sys.stderr,
    )
    raise SystemExit(2) from missing

ROOT = Path(__file__).resolve().parents[1]

PAIRS = {
    "src/nodus/_async": "src/nodus/_sync",
    "tests/_async": "tests/_sync",
}

# Sorted; every entry must be needed somewhere. unasync's own table (the dunders, AsyncIterator, …) comes on top.
RENAMES = {
    "AsyncByteStream": "SyncByteStream",
    "AsyncChannel": "Channel",
    "AsyncClient": "Client",
    "AsyncClock": "Clock",
    "AsyncCompletedJobs": "CompletedJobs",
    "AsyncConnection": "Connection",
    "AsyncConnectionInterface": "ConnectionInterface",
    "AsyncConnectionPool": "ConnectionPool",
    "AsyncConnectionStack": "ConnectionStack",
    "AsyncDeadlineBackend": "DeadlineBackend",
    "AsyncDeadlineStream": "DeadlineStream",
    "AsyncDeliveryIterator": "DeliveryIterator",
    "AsyncEventStream": "EventStream",
    "AsyncFakeClock": "FakeClock",
    "AsyncHTTPClient": "HTTPClient",
    "AsyncHTTPTransport": "HTTPTransport",
    "AsyncJob": "Job",
    "AsyncJobIterator": "JobIterator",
    "AsyncLedger": "Ledger",
    "AsyncLedgerIterator": "LedgerIterator",
    "AsyncLimiter": "Limiter",
    "AsyncLiveStream": "LiveStream",
    "AsyncLogStream": "LogStream",
    "AsyncNetworkBackend": "NetworkBackend",
    "AsyncNetworkStream": "NetworkStream",
    "AsyncOpenResponse": "OpenResponse",
    "AsyncPageIterator": "PageIterator",
    "AsyncPolledAllEvents": "PolledAllEvents",
    "AsyncPolledEvents": "PolledEvents",
    "AsyncPolledJobEvents": "PolledJobEvents",
    "AsyncPool": "Pool",
    "AsyncRunGuard": "RunGuard",
    "AsyncScript": "Script",
    "AsyncSession": "Session",
    "AsyncSocket": "Socket",
    "AsyncStatement": "Statement",
    "AsyncStreamPlaces": "StreamPlaces",
    "AsyncStreamedResponse": "StreamedResponse",
    "AsyncTLS": "TLS",
    "AsyncText": "Text",
    "AsyncWebhooks": "Webhooks",
    "_AsyncInstrumentedTransport": "_InstrumentedTransport",
    "_async": "_sync",
    "aclose": "close",
    "async_close": "close",
    "async_connect": "connect",
    "async_misfit": "misfit",
    "async_receive": "receive",
    "async_resolve": "resolve",
    "async_send": "send",
    "async_settled": "settled",
    "async_shielded": "shielded",
    "async_together": "together",
    "async_until_silent": "until_silent",
    "handle_async_request": "handle_request",
}

# Words that look like a leftover and are right: word -> why.
ALLOWED: dict[str, str] = {"SyncByteStream": "httpx's own name for the stream of a synchronous body"}

LEFTOVER = re.compile(r"async|await|Async[A-Z]|Sync[A-Z]")
# An escape such as the \n of "\nClient" is a unit of its own, so that its letter does not join the word after it.
WORD_OR_ESCAPE = re.compile(r"\\.|[^\W\d]\w*", re.DOTALL)
WORD = re.compile(r"[^\W\d]\w*")
RAW = re.compile(r"[a-z]*r[a-z]*['\"]|#", re.IGNORECASE)
DOCTEST_LINE = re.compile(r"^(\s*(?:>>>|\.\.\.) )(.*)$", re.MULTILINE)
ARTICLE = re.compile(r"\b([Aa])n(?= \W{0,2}Async[A-Z])")
WAITING_WORD = re.compile(r"\b(?:async|await) ")
INTERPOLATED_START = {"FSTRING_START", "TSTRING_START"}
INTERPOLATED_END = {"FSTRING_END", "TSTRING_END"}


class Problem(NamedTuple):
    """What is wrong, and where: a path relative to the root of the tree, and a line of that file."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


class SyncRule(Rule):  # type: ignore[misc]  # unasync ships no types
    """unasync's rule, but exact: it renames by the table only, in code and text alike, and guesses nothing."""

    def __init__(self, renames: Mapping[str, str]) -> None:
        super().__init__("/_async/", "/_sync/", dict(renames))
        self.used: set[str] = set()

    def convert(self, source: str) -> str:
        """Return `source` without its waiting, each line still under its old number."""
        return str(tokens_to_src(self._unasync_tokens(whole_strings(src_to_tokens(source)))))

    def _unasync_tokens(self, tokens: Iterable[Token]) -> Generator[Token, None, None]:
        for token in super()._unasync_tokens(tokens):
            if token.name in ("COMMENT", "STRING"):
                text = DOCTEST_LINE.sub(lambda line: line[1] + WAITING_WORD.sub("", line[2]), token.src)
                text = ARTICLE.sub(r"\1", text)
                words = WORD if RAW.match(text) else WORD_OR_ESCAPE
                yield token._replace(src=words.sub(lambda word: self._unasync_name(word[0]), text))
            else:
                yield token

    def _unasync_name(self, name: str) -> str:
        self.used.add(name)
        return str(self.token_replacements.get(name, name))


def whole_strings(tokens: Iterable[Token]) -> Iterator[Token]:
    """Join the pieces into which Python 3.12 and later cut an f-string: one token, as it is on 3.10 and 3.11."""
    pieces: list[Token] = []
    depth = 0
    for token in tokens:
        depth += (token.name in INTERPOLATED_START) - (token.name in INTERPOLATED_END)
        if not pieces and depth == 0:
            yield token
            continue
        pieces.append(token)
        if depth == 0:
            yield pieces[0]._replace(name="STRING", src=tokens_to_src(pieces))
            pieces = []


def unsafe_syntax(path: str, source: str) -> Iterator[Problem]:
    """Find what unasync would spoil, or would treat differently from one Python to another."""
    try:
        ast.parse(source)
    except SyntaxError as error:
        yield Problem(path, error.lineno or 1, f"does not parse: {error.msg}")
        return
    tokens = src_to_tokens(source)
    for token, following in zip(tokens, [*tokens[1:], Token("ENDMARKER", "")], strict=True):
        if token.src in ("async", "await") and following.src != " ":
            yield Problem(path, token.line or 1, f"`{token.src}` must be followed by one space, on the same line")
    yield from newer_interpolation(path, tokens)


def newer_interpolation(path: str, tokens: Iterable[Token]) -> Iterator[Problem]:
    """Find f-strings in the syntax that only Python 3.12 and later read: reused quotes, backslashes, comments."""
    quotes: list[str] = []
    for token in tokens:
        opens = token.name in INTERPOLATED_START
        nested = bool(quotes) and (opens or token.name == "STRING")
        if (
            (nested and any(quote in token.src for quote in quotes))
            or (quotes and not token.name.endswith("STRING_MIDDLE") and ("\\" in token.src or token.name == "COMMENT"))
            or (quotes and token.name == "NL" and len(quotes[-1]) == 1)
        ):
            yield Problem(path, token.line or 1, f"{token.src!r} in the braces of an f-string needs Python 3.12")
        if opens:
            quotes.append(token.src.lstrip("fFrRtT"))
        elif token.name in INTERPOLATED_END:
            quotes.pop()


def leftovers(path: str, converted: str, allowed: Mapping[str, str], seen: set[str]) -> Iterator[Problem]:
    """Find asynchronous words that no rename took away; `seen` collects the allowed words that were met."""
    for number, line in enumerate(converted.splitlines(), start=1):
        for word in re.findall(r"\w+", line):
            if not LEFTOVER.search(word):
                continue
            if word in allowed:
                seen.add(word)
            else:
                yield Problem(path, number, f"`{word}` is left in the synchronous code: add it to RENAMES or reword")


def table_problems(renames: Mapping[str, str], allowed: Mapping[str, str], used: set[str]) -> Iterator[Problem]:
    """Check the two tables themselves: sorted, one step each, nothing in them that is not needed."""
    tool = Path(__file__).read_text(encoding="utf-8").splitlines()

    def at(name: str, message: str) -> Problem:
        line = next((n for n, text in enumerate(tool, 1) if text.lstrip().startswith(f'"{name}":')), 1)
        return Problem("tools/unasync_build.py", line, message)

    for before, after in zip(list(renames), list(renames)[1:], strict=False):
        if before > after:
            yield at(after, f"RENAMES is not sorted: {after!r} stands after {before!r}")
    for name, replacement in renames.items():
        if replacement in renames:
            yield at(name, f"RENAMES takes two steps: {name!r} becomes {replacement!r}, which is renamed again")
    for name in [*renames, *allowed]:
        if name not in used:
            yield at(name, f"{name!r} is never used: take it out")


def generate(
    root: Path, destination: Path, renames: Mapping[str, str], allowed: Mapping[str, str]
) -> tuple[list[Problem], list[Problem]]:
    """Build every generated file of `root` under `destination`.

    Returns the problems of the sources, which make the result worthless, and those of the tables, which do not.
    """
    rule = SyncRule(renames)
    problems: list[Problem] = []
    used: set[str] = set()
    written: list[str] = []
    for source_folder, target_folder in PAIRS.items():
        for source in sorted((root / source_folder).rglob("*.py")):
            path = source.relative_to(root).as_posix()
            text = source.read_bytes().decode("utf-8")
            unsafe = list(unsafe_syntax(path, text))
            if unsafe:
                problems += unsafe
                continue
            converted = rule.convert(text)
            problems += leftovers(path, converted, allowed, used)
            target = (PurePosixPath(target_folder) / source.relative_to(root / source_folder).as_posix()).as_posix()
            written.append(target)
            (destination / target).parent.mkdir(parents=True, exist_ok=True)
            (destination / target).write_bytes((header(path) + converted).encode("utf-8"))
    if written and not problems:
        problems += tidy(root, destination, written)
    # A file that could not be converted used nothing, which says nothing of the tables.
    return problems, [] if problems else list(table_problems(renames, allowed, used | rule.used))


def header(source: str) -> str:
    """The first line of a generated file."""
    return f"# Generated from {source}: do not edit. Edit that file, then run tools/unasync_build.py.\n"


def tidy(root: Path, destination: Path, written: list[str]) -> list[Problem]:
    """Sort imports and `__all__`, whose order the new names changed, and format: with the project's own settings."""
    common = ["--no-cache", "--config", str(root / "pyproject.toml"), *written]
    for command in (["check", "--quiet", "--select", "I,RUF022", "--fix"], ["format", "--quiet"]):
        done = subprocess.run([*ruff(), *command, *common], cwd=destination, capture_output=True, text=True)
        if done.returncode != 0:
            return [
                Problem(
                    written[0], 1, f"ruff {command[0]} failed here or in a file after it:\n{done.stdout}{done.stderr}"
                )
            ]
    return []


def ruff() -> list[str]:
    """The command that runs ruff: the one of this Python, else the one on PATH."""
    if importlib.util.find_spec("ruff") is not None:
        return [os.path.abspath(sys.executable), "-m", "ruff"]
    found = shutil.which("ruff")
    if found is None:
        print("tools/unasync_build.py needs ruff: install the dependency group `generate`.", file=sys.stderr)
        raise SystemExit(2)
    return [found]


def files_under(root: Path) -> dict[str, Path]:
    """Every file of the target folders of `root`, by its path in the tree; compiled files do not count."""
    return {
        file.relative_to(root).as_posix(): file
        for folder in PAIRS.values()
        for file in sorted((root / folder).rglob("*"))
        if file.is_file() and "__pycache__" not in file.parts
    }


def source_of(target: str) -> str:
    """The path of the file from which `target` is, or would be, generated."""
    folder = next(target_folder for target_folder in PAIRS.values() if target.startswith(target_folder + "/"))
    origin = next(source_folder for source_folder, target_folder in PAIRS.items() if target_folder == folder)
    return origin + target[len(folder) :]


def drift(root: Path, built: Path) -> Iterator[tuple[Problem, str]]:
    """Compare the tree with what was built: each difference, and the diff that shows it."""
    expected, actual = files_under(built), files_under(root)
    for path in sorted(expected.keys() | actual.keys()):
        if path not in expected:
            yield Problem(path, 1, f"orphan: there is no {source_of(path)}"), ""
        elif path not in actual:
            yield Problem(path, 1, f"missing: not yet generated from {source_of(path)}"), ""
        elif expected[path].read_bytes() != actual[path].read_bytes():
            old = actual[path].read_bytes().decode("utf-8", "backslashreplace").splitlines(keepends=True)
            new = expected[path].read_bytes().decode("utf-8").splitlines(keepends=True)
            matches = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
            first = next((start for tag, start, *_ in matches if tag != "equal"), 0)
            diff = "".join(difflib.unified_diff(old, new, path, f"{path} (from {source_of(path)})"))
            yield Problem(path, first + 1, f"is not what {source_of(path)} gives"), diff


def replace_tree(root: Path, built: Path) -> list[str]:
    """Make the target folders of `root` what was built; return the paths that changed."""
    changed = [problem.path for problem, _ in drift(root, built)]
    expected = files_under(built)
    for path in changed:
        if path in expected:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(expected[path], root / path)
        else:
            (root / path).unlink()
    for folder in PAIRS.values():
        for inner in sorted((p for p in (root / folder).rglob("*") if p.is_dir()), reverse=True):
            if inner.name != "__pycache__" and not any(
                path.startswith(f"{inner.relative_to(root).as_posix()}/") for path in expected
            ):
                shutil.rmtree(inner)
    return changed


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Run the tool; return its exit status."""
    parser = argparse.ArgumentParser(description="Write the _sync folders from their _async twins.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if anything would change")
    check = parser.parse_args(arguments).check
    with tempfile.TemporaryDirectory(prefix="unasync-") as folder:
        built = Path(folder)
        problems, table = generate(root, built, RENAMES, ALLOWED)
        if not problems and check:
            for problem, diff in drift(root, built):
                problems.append(problem)
                print(diff, end="")
        elif not problems:
            for path in replace_tree(root, built):
                print(f"{'wrote' if (root / path).exists() else 'deleted'} {path}")
    for problem in [*problems, *table]:
        print(problem)
    if problems or table:
        if check:
            print("The generated code and its sources do not agree.")
        else:
            print("Nothing was written." if problems else "Written; the tables in tools/unasync_build.py need a look.")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
