"""Whose files the package `nodus` and the command `nodus` are, by what pip recorded in this environment.

Other projects install a package or a command of that name too. pip writes the one over the other without a word, and
afterwards neither works. Standard library only, so that this still runs then.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions

from .._origin import SDK
from .._version import __version__

PACKAGE = "nodus"
COMMAND = "nodus"


@dataclass(frozen=True)
class Owner:
    """A distribution that installed something of that name.

    Attributes:
        name: the distribution's name.
        version: its version.
        has_package: whether it has a package `nodus`.
        has_command: whether it has a command `nodus`.
    """

    name: str
    version: str
    has_package: bool
    has_command: bool

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True)
class Ownership:
    """Who owns what.

    Attributes:
        package: the folder of the package `nodus` that runs.
        command: the path of the command `nodus` that a shell would find; None if it finds none.
        own: this project's distribution, as it is installed; None if it is not.
        others: other distributions with a package or a command `nodus`.
    """

    package: str
    command: str | None
    own: Owner | None
    others: tuple[Owner, ...]

    def conflicts(self) -> list[str]:
        """Return what is wrong, a sentence each; none if all is as it should be."""
        found = [
            f"{other} installed a {' and a '.join(_things(other))} named {PACKAGE!r} into this environment too."
            for other in self.others
        ]
        if self.own is not None and self.own.version != __version__:
            found.append(
                f"{self.own} is installed in this environment, but version {__version__} runs: another project's "
                f"{SDK} may have taken its place."
            )
        return found


def look_up() -> Ownership:
    """Look at what is installed; it takes a while, as every distribution is asked for its files."""
    owners = [owner for owner in map(_owner, distributions()) if owner.has_package or owner.has_command]
    return judge(
        owners,
        _own(),
        package=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
        command=shutil.which(COMMAND),
    )


def judge(owners: Iterable[Owner], own: Owner | None, *, package: str, command: str | None) -> Ownership:
    """Tell this project's distribution from others."""
    others = {owner.name: owner for owner in owners if _normalized(owner.name) != SDK}
    return Ownership(package, command, own, tuple(others.values()))


def explain_broken_import(error: ImportError) -> str | None:
    """Return why the package cannot be imported, if its files are not all this project's; None if they are."""
    module = sys.modules.get(PACKAGE)
    if module is not None and getattr(module, "__version__", None) == __version__ and hasattr(module, "__getattr__"):
        return None
    found = look_up()
    culprits = " ".join(found.conflicts()) or "Another project's files were installed over it."
    return f"The package {PACKAGE!r} in {found.package} is damaged ({error}). {culprits} {ADVICE}"


ADVICE = f"Install {SDK} into an environment of its own: two projects cannot share the name {PACKAGE!r} in one."


def _own() -> Owner | None:
    try:
        return _owner(distribution(SDK))
    except PackageNotFoundError:
        return None


def _owner(installed: Distribution) -> Owner:
    # A distribution whose metadata is damaged has no name.
    name = installed.metadata.get("Name") or "a distribution without a name"
    files = installed.files or ()
    top_level = (installed.read_text("top_level.txt") or "").split()
    return Owner(
        name=name,
        version=installed.version or "of no version",
        has_package=PACKAGE in top_level or any(file.parts[0] == PACKAGE for file in files if file.parts),
        has_command=any(point.group == "console_scripts" and point.name == COMMAND for point in installed.entry_points),
    )


def _things(owner: Owner) -> list[str]:
    return [thing for thing, has in (("package", owner.has_package), ("command", owner.has_command)) if has]


def _normalized(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
