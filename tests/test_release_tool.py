"""A release is made only of what agrees with itself."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

import release

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = {"nodus-sdk": "1.2.0", "nodus-control-plane": "1.1.0rc1"}
CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n## nodus-sdk 1.2.0, nodus-control-plane 1.1.0rc1 - 2026-11-30\n"


def test_each_distribution_says_its_version_in_one_place() -> None:
    """A literal that the build, the package and the tool read."""
    for file, _ in release.VERSIONS.values():
        assert release.version_in((ROOT / file).read_text(encoding="utf-8"))
    for folder in (".", "control_plane"):
        assert 'dynamic = ["version"]' in (ROOT / folder / "pyproject.toml").read_text(encoding="utf-8")


def test_what_agrees_may_be_released() -> None:
    """The tree is clean, and the changelog's newest release names both versions."""
    assert release.faults_of(VERSIONS, CHANGELOG, "") == []


@pytest.mark.parametrize(
    ("versions", "changelog", "uncommitted", "fault"),
    [
        ({**VERSIONS, "nodus-sdk": "1.2"}, CHANGELOG, "", "nodus-sdk: '1.2' is no version"),
        (VERSIONS, "## [Unreleased]\n", "", "the newest release is none: write `## nodus-sdk 1.2.0, "),
        (VERSIONS, CHANGELOG.replace("1.2.0", "1.1.9"), "", "the newest release is 'nodus-sdk 1.1.9, "),
        (VERSIONS, CHANGELOG.replace("2026-11-30", "soon"), "", "write `## nodus-sdk 1.2.0, "),
        (VERSIONS, CHANGELOG, "?? stray\n", "not committed: commit or remove it\n?? stray"),
    ],
)
def test_what_does_not_agree_is_named(versions: dict[str, str], changelog: str, uncommitted: str, fault: str) -> None:
    """With what to do about it."""
    assert fault in "\n".join(release.faults_of(versions, changelog, uncommitted))


def build(folder: Path, *, version: str = "1.2.0", without: str = "") -> None:
    """Write a wheel and a source archive such as the build writes."""
    metadata = (
        f"Name: nodus-sdk\nVersion: {version}\nLicense-Expression: Apache-2.0\nRequires-Python: >=3.10\nSummary: x\n"
    )
    information = "nodus_sdk-1.2.0.dist-info"
    files = {f"{information}/METADATA": metadata, "nodus/py.typed": "", f"{information}/licenses/LICENSE": "x"}
    with zipfile.ZipFile(folder / "nodus_sdk-1.2.0-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            if name != without:
                wheel.writestr(name, text)
    with tarfile.open(folder / "nodus_sdk-1.2.0.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("nodus_sdk-1.2.0/LICENSE"), io.BytesIO())


def test_what_was_built_is_looked_into(tmp_path: Path) -> None:
    """Its name, version, license and types are there."""
    assert "was not built" in release.faults_in("nodus-sdk", "1.2.0", tmp_path)[0]

    build(tmp_path)
    assert release.faults_in("nodus-sdk", "1.2.0", tmp_path) == []

    build(tmp_path, version="1.1.0")
    assert "its Version is '1.1.0' and not '1.2.0'" in release.faults_in("nodus-sdk", "1.2.0", tmp_path)[0]

    build(tmp_path, without="nodus/py.typed")
    assert "there is no py.typed" in release.faults_in("nodus-sdk", "1.2.0", tmp_path)[0]
