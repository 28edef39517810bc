"""Where the tests find servers, engines and a browser. As a script, it names the Debian packages of those missing."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

OLDEST_POSTGRESQL = 15

# Where packages put them without a link on PATH: Debian, Red Hat, Homebrew on both kinds of Mac.
_POSTGRESQL_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def postgresql_folder() -> Path | None:
    """Find the folder of `initdb` and `postgres`, of the newest version that is new enough; None for none."""
    found = [(_major_version(folder / "postgres"), folder) for folder in _candidates()]
    usable = [(version, folder) for version, folder in found if version >= OLDEST_POSTGRESQL]
    return max(usable)[1] if usable else None


def redis_program() -> Path | None:
    """Find `redis-server`; None for none."""
    found = shutil.which("redis-server")
    return Path(found) if found else None


def pgbouncer_program() -> Path | None:
    """Find `pgbouncer`; None for none."""
    return _administrative("pgbouncer")


def browser_program() -> Path | None:
    """Find Chromium, or a browser made of it; None for none."""
    for name in _BROWSERS:
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    return None


def dockerd_program() -> Path | None:
    """Find `dockerd`; None for none."""
    return _administrative("dockerd")


def podman_program() -> Path | None:
    """Find `podman`; None for none."""
    return _administrative("podman")


def sshd_program() -> Path | None:
    """Find `sshd`; None for none."""
    return _administrative("sshd")


def netavark_program() -> Path | None:
    """Find `netavark`, which gives podman's containers their networks; None for none."""
    found = Path("/usr/lib/podman/netavark")
    return found if found.exists() else _administrative("netavark")


def registry_program() -> Path | None:
    """Find a server of images; None for none."""
    return _administrative("docker-registry")


def busybox_program() -> Path | None:
    """Find a busybox that needs no library, and so runs in an image that holds nothing else; None for none."""
    found = _administrative("busybox")
    if found is None:
        return None
    with found.open("rb") as program:
        # A program that needs libraries names, near its beginning, what loads them.
        return None if b"/ld-" in program.read(4096) else found


def _administrative(name: str) -> Path | None:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")
    return Path(found) if found else None


def slurm_programs() -> dict[str, Path] | None:
    """Find the programs of Slurm and MUNGE by their names; None if one is missing."""
    return _all_of("slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo", "munged")


def _all_of(*names: str) -> dict[str, Path] | None:
    found = {name: shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin") for name in names}
    programs = {name: Path(program) for name, program in found.items() if program}
    return programs if len(programs) == len(names) else None


def _candidates() -> Iterator[Path]:
    on_path = shutil.which("postgres")
    if on_path is not None:
        # A link may stand alone, `initdb` beside what it leads to.
        yield Path(on_path).resolve().parent
    for pattern in _POSTGRESQL_FOLDERS:
        yield from Path("/").glob(pattern[1:])


def _major_version(program: Path) -> int:
    """Return a PostgreSQL's major version; 0 where there is none that starts, or no `initdb` beside it."""
    if not program.with_name("initdb").exists():
        return 0
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return 0
    found = re.search(r"(\d+)", said)
    return int(found.group(1)) if found else 0


_DEBIAN_PACKAGES: dict[str, Callable[[], object | None]] = {
    "postgresql": postgresql_folder,
    "redis-server": redis_program,
    "pgbouncer": pgbouncer_program,
    "chromium": browser_program,
    "busybox-static": busybox_program,
    "docker.io": dockerd_program,
    "docker-registry": registry_program,
    "openssh-server": sshd_program,
    "podman": podman_program,
    # What podman runs containers with, none of which it brings along.
    "runc": lambda: _administrative("runc"),
    "netavark": netavark_program,
    "iptables": lambda: _administrative("iptables"),
    "catatonit": lambda: _administrative("catatonit"),
    "munge": lambda: _all_of("munged"),
    "slurm-wlm": slurm_programs,
}

if __name__ == "__main__":
    for package, find in _DEBIAN_PACKAGES.items():
        if find() is None:
            print(package)  # noqa: T201  # as a script, this is its answer
