"""Whose the package and the command `nodus` are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import nodus
from nodus import __version__
from nodus._cli import ownership
from nodus._cli.ownership import InstalledDistribution, classify_owners
from tests.cli.conftest import Command

OWN = InstalledDistribution("nodus-sdk", __version__, has_package=True, has_command=True)
OTHER = InstalledDistribution("nodus-lang", "5.15.0", has_package=True, has_command=True)


def install(folder: Path, name: str, version: str, files: tuple[str, ...], *, command: bool = False) -> None:
    """Record a distribution as pip does."""
    record = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    record.mkdir(parents=True)
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    (record / "RECORD").write_text("".join(f"{file},,\n" for file in files), encoding="utf-8")
    if command:
        (record / "entry_points.txt").write_text("[console_scripts]\nnodus = nodus.cli:main\n", encoding="utf-8")


def test_all_is_well_where_there_is_nobody_else() -> None:
    """Other distributions without such a package or command do not matter."""
    assert classify_owners([OWN], OWN, package="/p", command="/bin/nodus").conflicts() == []


def test_another_distribution_is_named() -> None:
    """The message says whether it has a package or a command of that name."""
    (conflict,) = classify_owners([OWN, OTHER], OWN, package="/p", command=None).conflicts()

    assert conflict == ("nodus-lang 5.15.0 installed a package and a command named 'nodus' into this environment too.")


def test_a_strangers_distribution_of_our_name_is_found_by_its_version() -> None:
    """The installed version is not the one that runs."""
    stranger = InstalledDistribution("nodus_SDK", "0.2.0", has_package=False, has_command=False)
    (conflict,) = classify_owners([stranger], stranger, package="/p", command=None).conflicts()

    assert "0.2.0 is installed" in conflict
    assert __version__ in conflict


def test_doctor_says_whose_they_are(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It warns if another project has one too."""
    install(tmp_path, "nodus-lang", "5.15.0", ("nodus/__init__.py", "nodus/cli.py"), command=True)
    install(tmp_path, "unrelated", "1.0", ("unrelated/nodus.py",))
    monkeypatch.syspath_prepend(str(tmp_path))
    result = command("doctor")

    assert "ok       package nodus: nodus-sdk" in result.stdout
    assert str(Path(nodus.__file__).parent) in result.stdout
    assert "command nodus: " in result.stdout
    assert "warning  installation: nodus-lang 5.15.0 installed a package and a command" in result.stdout
    assert "unrelated" not in result.stdout


def test_a_package_that_was_written_over_says_so_itself(tmp_path: Path) -> None:
    """This works as long as the package can still be imported in part."""
    overwritten = tmp_path / "nodus"
    overwritten.mkdir()
    for path in Path(nodus.__file__).parent.iterdir():
        if path.name not in ("__init__.py", "__pycache__", "_errors.py"):
            (overwritten / path.name).symlink_to(path)
    (overwritten / "__init__.py").write_text("__version__ = '5.15.0'\n", encoding="utf-8")
    install(tmp_path, "nodus-lang", "5.15.0", ("nodus/__init__.py",))
    program = "import sys\nsys.argv = ['nodus', 'list']\nfrom nodus._cli import main\nsys.exit(main())"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 3
    assert "damaged" in done.stderr
    assert "nodus-lang 5.15.0 installed a package named 'nodus'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_module_of_an_intact_package_is_another_matter(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a bug or a broken environment, so the traceback is shown."""

    def broken(arguments: list[str]) -> int:
        raise ImportError("no module named httpx")

    monkeypatch.setattr("nodus._cli.program.run_program", broken)
    with pytest.raises(ImportError, match="httpx"):
        command("list")
    assert ownership.explain_broken_import(ImportError("x")) is None
