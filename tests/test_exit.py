"""A program ends when it wants to, even while a name is being looked up: nothing of ours holds it up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import nodus

SOURCE = str(Path(nodus.__file__).parents[1])
PATIENCE_SECONDS = 240.0

# A resolver that never answers, and says when it was asked.
SILENT_RESOLVER = """
import socket, threading
real = socket.getaddrinfo
socket.asked = threading.Event()
def getaddrinfo(host, *arguments, **options):
    if host == "api.test":
        print("asked", flush=True)
        socket.asked.set()
        threading.Event().wait()
    return real(host, *arguments, **options)
socket.getaddrinfo = getaddrinfo
"""

# The thread that looks the name up may come to it only after the call has timed out; then there is another call.
ASYNCHRONOUS = """
import anyio, nodus, socket
async def main():
    async with nodus.AsyncClient("k", base_url="http://api.test", timeout=1, max_retries=0) as client:
        was_asked = False
        while not was_asked:
            try:
                await client.healthz()
            except nodus.APITimeoutError:
                was_asked = socket.asked.is_set()
        print("timed out", flush=True)
anyio.run(main, backend="{backend}")
print("left", flush=True)
"""

SYNCHRONOUS = """
import nodus, socket
with nodus.Client("k", base_url="http://api.test", timeout=1, max_retries=0) as client:
    was_asked = False
    while not was_asked:
        try:
            client.healthz()
        except nodus.APITimeoutError:
            was_asked = socket.asked.is_set()
    print("timed out", flush=True)
print("left", flush=True)
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Variables for a program that meets the silent resolver."""
    (tmp_path / "sitecustomize.py").write_text(SILENT_RESOLVER, encoding="utf-8")
    return {
        **os.environ,
        "NODUS_ALLOW_INSECURE": "1",
        "NODUS_API_KEY": "k",
        "NODUS_BASE_URL": "http://api.test",
        "PYTHONPATH": os.pathsep.join((str(tmp_path), SOURCE)),
    }


@pytest.mark.parametrize(
    "program",
    [ASYNCHRONOUS.format(backend="asyncio"), ASYNCHRONOUS.format(backend="trio"), SYNCHRONOUS],
    ids=["asyncio", "trio", "threads"],
)
def test_a_program_ends_before_the_resolver_answers(program: str, environ: dict[str, str]) -> None:
    """Neither the event loop nor the interpreter waits for the thread."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_SECONDS, env=environ
    )

    assert (done.stdout.split("\n"), done.returncode) == (["asked", "timed out", "left", ""], 0), done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_ctrl_c_ends_a_command_before_the_resolver_answers(backend: str, environ: dict[str, str]) -> None:
    """A single Ctrl-C suffices."""
    child = subprocess.Popen(
        [sys.executable, "-m", "nodus", "health"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**environ, "NODUS_BACKEND": backend},
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "asked\n"
        child.send_signal(signal.SIGINT)
        assert child.wait(PATIENCE_SECONDS) == 130
    finally:
        child.kill()
        child.communicate()
