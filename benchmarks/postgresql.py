"""Section 7 on PostgreSQL: a server of its own, two processes that answer requests, and a worker apart.

It waits for the disk at every commit, as a server does by default.
"""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import nodus_core
from nodus_core.catalogue import SHIPPED_FILE

from . import operators_program
from .operators_program import SERVING, WORKING

API_PROCESSES = 2
STARTING_SECONDS = 60.0


class Served(NamedTuple):
    """A control plane on PostgreSQL, and a key to it."""

    address: str
    api_key: str


def why_not() -> str | None:
    """Say why it cannot be measured here; None where it can."""
    if programs() is None:
        return "PostgreSQL is not installed"
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "psycopg is not installed"
    if os.name != "posix":
        return "the server is started only where there are users and signals of Unix"
    return None


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, the newest."""
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda each: int(each.parts[-3]))
    return found[-1].parent if found else None


@contextlib.contextmanager
def served() -> Iterator[Served]:
    """Run all of it until the block ends."""
    with contextlib.ExitStack() as closing:
        url = closing.enter_context(_server())
        environment = {
            **os.environ,
            "NODUS_DATABASE_URL": url,
            "NODUS_SUPPLIERS": str(Path(nodus_core.__file__).with_name("data") / SHIPPED_FILE),
            "NODUS_KEY_ENCRYPTION_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
            "XDG_STATE_HOME": closing.enter_context(tempfile.TemporaryDirectory()),
        }
        api_key = _mint(environment)
        options = ["--port", "0", "--workers", str(API_PROCESSES), "--rate-limit", "off"]
        said = closing.enter_context(operators_program.running("serve", *options, until=SERVING, env=environment))
        closing.enter_context(operators_program.running("worker", until=WORKING, env=environment))
        yield Served(said, api_key)


def _mint(environment: Mapping[str, str]) -> str:
    program = (
        "import os, time\n"
        "from nodus_control.control_plane import ControlPlane\n"
        "from nodus_ledger.keys.keys import PrincipalKind\n"
        "plane = ControlPlane(os.environ['NODUS_DATABASE_URL'])\n"
        "minted = plane.keys.mint(customer_id='bench', label='bench', principal_kind=PrincipalKind.HUMAN,\n"
        "                         now=int(time.time() * 1000))\n"
        "plane.close()\n"
        "print(minted.api_key)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout.strip()


@contextlib.contextmanager
def _server() -> Iterator[str]:
    """Run a PostgreSQL server in a folder of its own; yield the URL of its database."""
    import pwd  # Unix has it, and `why_not` keeps others from here.

    folder = programs()
    assert folder is not None
    # It refuses to run as root.
    account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    user = None if account is None else account.pw_uid
    with tempfile.TemporaryDirectory() as place, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        if account is not None:
            os.chown(place, account.pw_uid, account.pw_gid)
        data = Path(place) / "data"
        made = [folder / "initdb", "-D", data, "-U", "nodus", "-A", "trust", "-E", "UTF8", "--locale=C"]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL, cwd=place, user=user)
        free.close()
        settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": place}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [folder / "postgres", "-D", data, *options]
        with subprocess.Popen(command, cwd=place, user=user, stderr=subprocess.DEVNULL) as process:
            try:
                _wait_for(process, port)
                yield f"postgresql://nodus@127.0.0.1:{port}/postgres"
            finally:
                # Fast: on SIGTERM it would wait for sessions that are still open.
                process.send_signal(signal.SIGINT)


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    import psycopg

    deadline = time.monotonic() + STARTING_SECONDS
    while True:
        try:
            psycopg.connect(host="127.0.0.1", port=port, user="nodus", dbname="postgres").close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
