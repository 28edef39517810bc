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
class InstalledDistribution:
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
    own: InstalledDistribution | None
    others: tuple[InstalledDistribution, ...]

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


def find_ownership() -> Ownership:
    """Look at what is installed; it takes a while, as every distribution is asked for its files."""
    owners = [owner for owner in map(_owner, distributions()) if owner.has_package or owner.has_command]
    return classify_owners(
        owners,
        _own(),
        package=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
        command=shutil.which(COMMAND),
    )


def classify_owners(
    owners: Iterable[InstalledDistribution], own: InstalledDistribution | None, *, package: str, command: str | None
) -> Ownership:
    """Tell this project's distribution from others."""
    others = {owner.name: owner for owner in owners if _normalized(owner.name) != SDK}
    return Ownership(package, command, own, tuple(others.values()))


def explain_broken_import(error: ImportError) -> str | None:
    """Return why the package cannot be imported, if its files are not all this project's; None if they are."""
    module = sys.modules.get(PACKAGE)
    if module is not None and getattr(module, "__version__", None) == __version__ and hasattr(module, "__getattr__"):
        return None
    found = find_ownership()
    culprits = " ".join(found.conflicts()) or "Another project's files were installed over it."
    return f"The package {PACKAGE!r} in {found.package} is damaged ({error}). {culprits} {ADVICE}"


ADVICE = f"Install {SDK} into an environment of its own: two projects cannot share the name {PACKAGE!r} in one."


def _own() -> InstalledDistribution | None:
    try:
        return _owner(distribution(SDK))
    except PackageNotFoundError:
        return None


def _owner(installed: Distribution) -> InstalledDistribution:
    try:
        name, version = installed.metadata["Name"], installed.version
    except (KeyError, TypeError):  # its metadata is damaged
        name = version = ""
    # The files themselves, because an object for each of thousands of paths takes a second.
    record = f"\n{installed.read_text('RECORD') or ''}"
    top_level = (installed.read_text("top_level.txt") or "").split()
    has_points = COMMAND in (installed.read_text("entry_points.txt") or "")
    return InstalledDistribution(
        name=name or "a distribution without a name",
        version=version or "of no version",
        has_package=PACKAGE in top_level or f"\n{PACKAGE}/" in record,
        has_command=has_points
        and any(point.group == "console_scripts" and point.name == COMMAND for point in installed.entry_points),
    )


def _things(owner: InstalledDistribution) -> list[str]:
    return [thing for thing, has in (("package", owner.has_package), ("command", owner.has_command)) if has]


def _normalized(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
