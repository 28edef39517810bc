"""Install what the project needs from the system, as root on Debian; elsewhere, and for others, it does nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

PATIENCE_SECONDS = 300
PAUSE_SECONDS = 2.0


def install_servers(root: Path) -> None:
    """Install those of the servers and the browser that tests start which are not here."""
    find = root / "control_plane/tests/servers/programs.py"
    done = subprocess.run([sys.executable, "-I", str(find)], capture_output=True, text=True, check=True)
    if packages := done.stdout.split():
        install(*packages)


def install(*packages: str) -> None:
    """Install Debian packages, if this is root on such a system; where that fails, end with what was said."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    print(f"Installing {', '.join(packages)} ...", file=sys.stderr, flush=True)
    # If only some lists could be fetched, the packages may be in those.
    updated = apt_get("update")
    installed = apt_get("install", "-y", "--no-install-recommends", *packages)
    if installed.returncode != 0:
        said = "".join(each.stdout + each.stderr for each in (updated, installed) if each.returncode != 0)
        raise SystemExit(f"{said}tools/dev.py: `{' '.join(installed.args)}` failed.")


def apt_get(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run apt-get, waiting up to five minutes for another one, such as that of a machine that has just started."""
    command = ["apt-get", "-o", f"DPkg::Lock::Timeout={PATIENCE_SECONDS}", "-o", "Acquire::Retries=3", *arguments]
    variables = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        done = subprocess.run(command, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        # apt-get waits by itself for the lock on the packages, but not for the one on the lists.
        if done.returncode == 0 or "Could not get lock" not in done.stderr or time.monotonic() > deadline:
            return done
        time.sleep(PAUSE_SECONDS)
