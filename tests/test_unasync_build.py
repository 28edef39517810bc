"""tools/unasync_build.py: what it writes, what it refuses, and that the tree is what it writes.

The suite runs on every supported Python, and each run compares with the same literal text and the same committed
files: that is how the output is known to be the same on all of them.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import unasync_build

ROOT = Path(__file__).resolve().parents[1]

RENAMES = {"AsyncClient": "Client", "AsyncJob": "Job", "_async": "_sync", "aclose": "close"}

SOURCE = '''\
"""The client, an `AsyncClient`, of _async/client.py.

>>> async with AsyncClient() as client:
...     job = await client.run()
>>> await client.aclose()
"""

from collections.abc import AsyncIterator, Iterator
from nodus._async.job import AsyncJob
from nodus import _errors

__all__ = ["AsyncClient", "Beta"]


class AsyncClient:  # every AsyncJob comes from an AsyncClient
    async def run(self, job: "AsyncJob", width: int) -> Iterator[AsyncJob]:
        raise OSError(f"{job!r:>{width}} no {{AsyncJob}}: {AsyncJob.__name__}" f" \\nAsyncJob {'x'}", rf"\\AsyncJob")

    async def aclose(self) -> None:
        async with self.first as one, self.second:
            await one.aclose()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def jobs(self) -> AsyncIterator[AsyncJob]:
        async for page in self:
            for job in [await one async for one in page]:
                yield job
'''

GENERATED = '''\
# Generated from src/nodus/_async/client.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""The client, a `Client`, of _sync/client.py.

>>> with Client() as client:
...     job = client.run()
>>> client.close()
"""

from collections.abc import Iterator

from nodus import _errors
from nodus._sync.job import Job

__all__ = ["Beta", "Client"]


class Client:  # every Job comes from a Client
    def run(self, job: "Job", width: int) -> Iterator[Job]:
        raise OSError(f"{job!r:>{width}} no {{Job}}: {Job.__name__} \\nJob {'x'}", rf"\\Job")

    def close(self) -> None:
        with self.first as one, self.second:
            one.close()

    def __enter__(self) -> "Client":
        return self

    def jobs(self) -> Iterator[Job]:
        for page in self:
            for job in [one for one in page]:
                yield job
'''


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project whose generated code is up to date, to be copied."""
    root = tmp_path_factory.mktemp("built")
    (root / "src/nodus/_async/inner").mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", root)
    (root / "src/nodus/_async/client.py").write_text(SOURCE)
    (root / "src/nodus/_async/inner/__init__.py").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unasync_build, "RENAMES", RENAMES)
        patch.setattr(unasync_build, "ALLOWED", {})
        assert unasync_build.main([], root) == 0
    return root


@pytest.fixture
def tree(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project whose generated code is up to date."""
    monkeypatch.setattr(unasync_build, "RENAMES", RENAMES)
    monkeypatch.setattr(unasync_build, "ALLOWED", {})
    return shutil.copytree(built, tmp_path / "project")


@pytest.fixture
def client(tree: Path) -> Path:
    """The one source of that project with something in it."""
    return tree / "src/nodus/_async/client.py"


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def line_of(path: Path, text: str) -> int:
    return next(number for number, line in enumerate(path.read_text().splitlines(), 1) if text in line)


def test_waiting_is_taken_out_and_names_are_changed_in_code_docstrings_comments_and_strings(tree: Path) -> None:
    """The same input gives the same bytes, whatever Python runs the tool."""
    assert (tree / "src/nodus/_sync/client.py").read_text() == GENERATED


def test_an_empty_module_becomes_a_header(tree: Path) -> None:
    """Packages stay packages."""
    text = (tree / "src/nodus/_sync/inner/__init__.py").read_text()

    assert text == unasync_build.header("src/nodus/_async/inner/__init__.py")


def test_an_up_to_date_tree_passes_the_check_in_silence(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing to say is said with nothing."""
    capsys.readouterr()

    assert unasync_build.main(["--check"], tree) == 0
    assert capsys.readouterr().out == ""


def test_an_edited_generated_line_fails_the_check_with_its_place_and_a_diff(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names file and line."""
    generated = tree / "src/nodus/_sync/client.py"
    line = line_of(generated, "one.close()")
    generated.write_text(generated.read_text().replace("one.close()", "one.shut()"))

    assert unasync_build.main(["--check"], tree) == 1
    out = capsys.readouterr().out
    assert f"src/nodus/_sync/client.py:{line}: " in out
    assert "-            one.shut()\n+            one.close()\n" in out


@pytest.mark.parametrize("orphan", ["old.py", "inner/old.py", "gone/deep/old.py", "notes.txt"])
def test_a_file_without_a_source_fails_the_check_and_is_deleted_by_a_run(
    tree: Path, orphan: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Orphans are found in every subfolder, and folders left empty go with them."""
    before = contents(tree)
    path = tree / "src/nodus/_sync" / orphan
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")

    assert unasync_build.main(["--check"], tree) == 1
    assert f"src/nodus/_sync/{orphan}:1: orphan" in capsys.readouterr().out
    assert path.exists()
    assert unasync_build.main([], tree) == 0
    assert contents(tree) == before
    assert not (tree / "src/nodus/_sync/gone").exists()


def test_compiled_files_are_no_orphans(tree: Path) -> None:
    """Importing the generated code does not make it wrong."""
    (tree / "src/nodus/_sync/__pycache__").mkdir()
    (tree / "src/nodus/_sync/__pycache__/client.cpython-310.pyc").write_bytes(b"")

    assert unasync_build.main(["--check"], tree) == 0


def test_a_file_not_yet_generated_fails_the_check(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A new source needs its twin."""
    (tree / "src/nodus/_async/job.py").write_text('"""A job."""\n')

    assert unasync_build.main(["--check"], tree) == 1
    assert "src/nodus/_sync/job.py:1: missing" in capsys.readouterr().out
    assert not (tree / "src/nodus/_sync/job.py").exists()


@pytest.mark.parametrize(
    "line",
    [
        "other = AsyncOther",
        "# an AsyncOther",
        '"""See AsyncOther."""',
        'other = "AsyncOther"',
        'other = f"{AsyncOther}"',
        "from contextlib import AbstractAsyncOther",
        "def async_other(): ...",
        "import asyncio",
        "class SyncOther: ...",
        "async def other(): return f'{await jobs()}'",
    ],
)
@pytest.mark.parametrize("arguments", [[], ["--check"]])
def test_a_word_without_a_rename_is_refused_with_its_place(
    tree: Path, client: Path, line: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """In code, docstring, comment or string alike; nothing is guessed, and nothing is written."""
    client.write_text(f"{SOURCE}\n\n{line}\n")
    before = contents(tree)

    assert unasync_build.main(arguments, tree) == 1
    assert f"src/nodus/_async/client.py:{len(SOURCE.splitlines()) + 3}: `" in capsys.readouterr().out
    assert contents(tree) == before


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("async def other():\n    return await(jobs())\n", 2),
        ("async def other():\n    return (await\n            jobs())\n", 2),
        ("async def other():\n    return await  jobs()\n", 2),
        ("def broken(:\n    pass\n", 1),
        ("names = {'a': 1}\ntext = f'{names['a']}'\n", 2),
        ("text = f'{chr(10).join([])}' + f'{\"\\n\"}'\n", 1),
    ],
)
def test_what_would_be_spoilt_or_differ_between_pythons_is_refused_with_its_place(
    tree: Path, client: Path, text: str, offset: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """unasync drops what follows `await`; the newer f-string syntax is an error on an older Python."""
    client.write_text(SOURCE + text)
    before = contents(tree)

    assert unasync_build.main([], tree) == 1
    assert f"src/nodus/_async/client.py:{len(SOURCE.splitlines()) + offset}: " in capsys.readouterr().out
    assert contents(tree) == before


def test_an_allowed_word_may_stay(tree: Path, client: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some foreign names are right as they are."""
    client.write_text(SOURCE + "\n\nstream = SyncByteStream\n")
    assert unasync_build.main([], tree) == 1

    monkeypatch.setattr(unasync_build, "ALLOWED", {"SyncByteStream": "a foreign name"})

    assert unasync_build.main([], tree) == 0


@pytest.mark.parametrize(
    ("renames", "allowed", "message"),
    [
        ({**RENAMES, "unused": "never"}, {}, "'unused' is never used"),
        (RENAMES, {"SyncOther": "a reason"}, "'SyncOther' is never used"),
        (dict(reversed(RENAMES.items())), {}, "not sorted"),
        ({"AsyncClient": "Client", "AsyncJob": "aclose", "_async": "_sync", "aclose": "close"}, {}, "two steps"),
    ],
)
def test_the_tables_hold_only_what_is_needed_in_order(
    tree: Path,
    renames: dict[str, str],
    allowed: dict[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A table that nobody prunes ends up describing another project."""
    monkeypatch.setattr(unasync_build, "RENAMES", renames)
    monkeypatch.setattr(unasync_build, "ALLOWED", allowed)

    assert unasync_build.main(["--check"], tree) == 1
    assert message in capsys.readouterr().out


def test_a_second_run_writes_nothing(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files that are right keep their time stamps."""
    generated = tree / "src/nodus/_sync/client.py"
    before = generated.stat().st_mtime_ns
    capsys.readouterr()

    assert unasync_build.main([], tree) == 0
    assert capsys.readouterr().out == ""
    assert generated.stat().st_mtime_ns == before


def test_the_check_leaves_the_tree_alone(tree: Path) -> None:
    """Whatever it finds."""
    (tree / "src/nodus/_sync/client.py").write_text("edited\n")
    (tree / "src/nodus/_sync/old.py").write_text("")
    before = contents(tree)

    assert unasync_build.main(["--check"], tree) == 1
    assert contents(tree) == before


def run(tool: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, tool, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of this project, as far as the tool reads it."""
    root = tmp_path / "checkout"
    for folder in ("src/nodus", "tests/_async", "tests/_sync", "tools"):
        if (ROOT / folder).exists():
            shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


def test_the_committed_code_is_what_this_python_generates(checkout: Path, tmp_path: Path) -> None:
    """Byte for byte, from any working directory, and without a trace."""
    before = contents(checkout)

    done = run(checkout / "tools/unasync_build.py", "--check", cwd=tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert contents(checkout) == before


def test_the_committed_code_cannot_drift_unseen(checkout: Path) -> None:
    """One edited line anywhere is found, in whichever of the generated files it is."""
    places = []
    for generated in sorted((checkout / "src/nodus/_sync").rglob("*.py")):
        before = generated.read_text()
        generated.write_text(before + "edited = True\n")
        places.append(f"{generated.relative_to(checkout).as_posix()}:{len(before.splitlines()) + 1}: ")

    done = run(checkout / "tools/unasync_build.py", "--check", cwd=checkout)

    assert done.returncode == 1
    assert [place for place in places if place not in done.stdout] == []


def test_without_unasync_the_tool_says_what_to_install(tmp_path: Path) -> None:
    """A missing tool is no traceback, and no drift."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", ROOT / "tools/unasync_build.py", "--check"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "install the dependency group `generate`" in done.stderr
    assert "Traceback" not in done.stderr
