"""The names of the distributions are not this project's on the public index: nothing installs them by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nodus import _origin

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ["docs", "src", "control_plane/src", "examples", "tools", ".ci"]
FILES = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "noxfile.py", "mkdocs.yml"]
TEXTS = [
    *(ROOT / name for name in FILES),
    *(
        path
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file() and path.suffix in ("", ".md", ".py", ".html", ".js", ".yml", ".toml", ".txt", ".sh")
    ),
]

# A name that is not part of a path or of a wheel's file name, with or without extras and a version.
_NAME = r"(?<![\w./-])nodus[-_](?:sdk|control[-_]plane)(?![\w-]*[.-][\w.+-]*\.(?:whl|tar\.gz))\b"
_BY_NAME = [
    re.compile(rf"\b(?:pip3?|pipx|uvx?|poetry|pdm|rye|conda|mamba)\b[^\n`]*[ \"'=]{_NAME}"),
    re.compile(rf"\binstall(?:s|ed|ing)?\s+[\"'`]*{_NAME}(?!`? is\b)", re.IGNORECASE),
    re.compile(r"nodus[-_](?:sdk|control[-_]plane)\[[\w, ]+\]"),
]


def installs_by_name(text: str) -> list[str]:
    """What in a text would make a reader install one of the names from an index."""
    return [found[0] for pattern in _BY_NAME for found in pattern.finditer(text)]


@pytest.mark.parametrize(
    "text",
    [
        "pip install nodus-sdk",
        'python3 -m pip install --upgrade "nodus-sdk"',
        "pip install nodus-sdk==0.1.0 flask",
        "pip install 'nodus-control-plane'",
        "uv add nodus-sdk",
        "uv tool install nodus_sdk",
        "uvx --from nodus-sdk nodus",
        "pipx install nodus-sdk",
        "install nodus-control-plane",
        "Needs the extra `nodus-sdk[ledger]`.",
        "    pip install flask nodus-sdk",
    ],
)
def test_such_texts_are_found(text: str) -> None:
    """All common installers count."""
    assert installs_by_name(text)


@pytest.mark.parametrize(
    "text",
    [
        "pip install .",
        "pip install . ./control_plane",
        "pip install dist/nodus_sdk-0.1.0-py3-none-any.whl",
        "pip install ./nodus_control_plane-0.1.0-py3-none-any.whl",
        "there, `nodus-sdk` is another project's",
    ],
)
def test_files_and_folders_are_not(text: str) -> None:
    """Installing from a path is what the documentation means."""
    assert installs_by_name(text) == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_text_installs_by_name(path: Path) -> None:
    """A reader who follows it would install another project's code."""
    assert installs_by_name(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("folder", [".", "control_plane"])
def test_no_distribution_requires_one_of_the_names(folder: str) -> None:
    """No extra requires one either."""
    pyproject = (ROOT / folder / "pyproject.toml").read_text(encoding="utf-8")
    quoted = re.findall(r'^(?!name = )[^#\n]*"(nodus[-_](?:sdk|control[-_]plane)\b[^"]*)"', pyproject, re.MULTILINE)

    assert quoted == []


@pytest.mark.parametrize("page", ["README.md", "docs/getting-started.md", "docs/guides/testing.md"])
def test_the_pages_say_what_the_constant_says(page: str) -> None:
    """The constant changes with publication, and the pages with it."""
    assert _origin.INSTALL_CONTROL_PLANE in (ROOT / page).read_text(encoding="utf-8")


def test_both_distributions_carry_the_licence() -> None:
    """It is the same licence."""
    assert (ROOT / "control_plane" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert 'license-files = ["LICENSE"]' in (ROOT / "control_plane" / "pyproject.toml").read_text(encoding="utf-8")
