"""Check that a release may be made, and build it: `python3 tools/release.py`.

It checks that the changelog's newest release names both versions, that nothing is uncommitted, and that what is built
holds what it should. It changes nothing, except that `--write` keeps what was built in `dist/`. It never
uploads. docs/development/releasing.md says what comes before and after.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import dev

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = {
    "nodus-sdk": ("src/nodus/_version.py", "."),
    "nodus-control-plane": ("control_plane/src/nodus_control/version.py", "control_plane"),
}
"""Of each distribution, the file that its version is written in, and the folder that it is built from."""


def version_in(text: str) -> str:
    """The version that a module of Python declares; empty where it declares none."""
    found = re.search(r'^(?:__version__|VERSION) = "([^"]*)"$', text, re.MULTILINE)
    return found[1] if found else ""


def faults_of(versions: dict[str, str], changelog: str, uncommitted: str) -> list[str]:
    """What stands in the way of a release, each in a line that says what to do about it."""
    faults = [
        f"{name}: {version!r} is no version such as 1.2.0 or 1.2.0rc1: correct {VERSIONS[name][0]}"
        for name, version in versions.items()
        if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version)
    ]
    headings = [line[3:] for line in changelog.splitlines() if line.startswith("## ") and "Unreleased" not in line]
    wanted = ", ".join(f"{name} {version}" for name, version in versions.items())
    if not headings or not re.fullmatch(re.escape(wanted) + r" - \d{4}-\d\d-\d\d", headings[0]):
        there = f"{headings[0]!r}" if headings else "none"
        faults.append(f"CHANGELOG.md: the newest release is {there}: write `## {wanted} - YYYY-MM-DD`")
    if uncommitted:
        faults.append(f"the folder holds what is not committed: commit or remove it\n{uncommitted.rstrip()}")
    return faults


def faults_in(name: str, version: str, folder: Path) -> list[str]:
    """What is wrong with a distribution's wheel and source archive, as they were built."""
    stem = f"{name.replace('-', '_')}-{version}"
    wheel, archive = folder / f"{stem}-py3-none-any.whl", folder / f"{stem}.tar.gz"
    missing = [file.name for file in (wheel, archive) if not file.exists()]
    if missing:
        return [f"{', '.join(missing)} was not built"]
    with zipfile.ZipFile(wheel) as opened:
        files = opened.namelist()
        told = HeaderParser().parsestr(opened.read(f"{stem}.dist-info/METADATA").decode())
    with tarfile.open(archive) as opened_archive:
        packed = opened_archive.getnames()
    faults = [
        f"{wheel.name}: its {field} is {told[field]!r} and not {expected!r}"
        for field, expected in (("Name", name), ("Version", version), ("License-Expression", "Apache-2.0"))
        if told[field] != expected
    ]
    faults += [f"{wheel.name}: there is no {field}" for field in ("Requires-Python", "Summary") if not told[field]]
    if not any(file.endswith("/py.typed") for file in files):
        faults.append(f"{wheel.name}: there is no py.typed, without which type checkers ignore it")
    if not any(file.endswith("licenses/LICENSE") for file in files) or f"{stem}/LICENSE" not in packed:
        faults.append(f"{wheel.name}: there is no LICENSE in it or in the source archive")
    return faults


def main(arguments: list[str]) -> int:
    """Check and build; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="keep what was built in dist/")
    options = parser.parse_args(arguments)
    versions = {name: version_in((ROOT / file).read_text("utf-8")) for name, (file, _) in VERSIONS.items()}
    status = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=True)
    faults = faults_of(versions, (ROOT / "CHANGELOG.md").read_text("utf-8"), status.stdout)
    if not faults:
        with tempfile.TemporaryDirectory() as scratch:
            environment, built = Path(scratch) / "environment", Path(scratch) / "dist"
            subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
            python = str(environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python"))
            dev.run_quietly([python, "-m", "pip", "install", "--quiet", "build>=1.2"])
            for name, (_, folder) in VERSIONS.items():
                dev.run_quietly([python, "-m", "build", "--outdir", str(built), folder])
                faults += faults_in(name, versions[name], built)
            if options.write and not faults:
                shutil.copytree(built, ROOT / "dist", dirs_exist_ok=True)
    for fault in faults:
        print(f"tools/release.py: {fault}", file=sys.stderr)
    if not faults:
        print(", ".join(f"{name} {version}" for name, version in versions.items()), "can be released.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
