"""A Docker Engine of the benchmark's own, with one image of busybox, and what is done there by hand."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

IMAGE = "registry.example/busybox:1"
STARTING_SECONDS = 60.0
ANSWER_SECONDS = 120.0

_API = "http://engine/v1.41"
_APPLETS = ("sh", "sleep", "true")


class Dockerd:
    """An engine that runs, and a connection to it that is kept.

    Args:
        socket: where it listens.
        pid: its process.
    """

    def __init__(self, socket: Path, pid: int) -> None:
        self.socket = socket
        self._pid = pid
        self.client = client(socket)

    def start_by_hand(self, document: Mapping[str, object]) -> float:
        """Create a container and start it, and nothing else; return how many seconds that took, by its own start."""
        began = time.time()
        made = self.client.post("/containers/create", json=document).raise_for_status().json()["Id"]
        self.client.post(f"/containers/{made}/start").raise_for_status()
        self.client.post(f"/containers/{made}/wait").raise_for_status()
        took = self.started_at(made) - began
        self.client.delete(f"/containers/{made}").raise_for_status()
        return took

    def started_at(self, container: str) -> float:
        """Return when a container started, in Unix seconds of the engine, which is on this machine."""
        from nodus_control.suppliers.docker.state import read_time

        state = self.client.get(f"/containers/{container}/json").raise_for_status().json()["State"]
        found = read_time(state["StartedAt"])
        if found is None:
            raise RuntimeError(f"a container did not start: {state}")
        return found

    def of_job(self, job_id: str) -> str:
        """Return the container of a job."""
        (found,) = self._all(f"nodus.job={job_id}")
        return str(found["Id"])

    def remove_all(self) -> None:
        """Remove every container, whether it runs or not."""
        for found in self._all():
            self.client.delete(f"/containers/{found['Id']}", params={"force": "true", "v": "true"})

    @contextlib.contextmanager
    def hung(self) -> Iterator[None]:
        """Let it answer nothing while the block lasts; what connects to it waits."""
        os.kill(self._pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._pid, signal.SIGCONT)

    def _all(self, *labels: str) -> list[dict[str, Any]]:
        params = {"all": "true", "filters": json.dumps({"label": list(labels)})}
        found: list[dict[str, Any]] = self.client.get("/containers/json", params=params).raise_for_status().json()
        return found


def why_not() -> str | None:
    """Say why none can run here; None where one can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "an engine of its own is started only by root on Linux"
    missing = [name for name in ("dockerd", "busybox") if _program(name) is None]
    return f"{' and '.join(missing)} cannot be found" if missing else None


def client(socket: Path) -> httpx.Client:
    """Return a client of an engine, whose connection is kept."""
    return httpx.Client(
        transport=httpx.HTTPTransport(uds=str(socket)), base_url=_API, timeout=ANSWER_SECONDS, trust_env=False
    )


@contextlib.contextmanager
def running() -> Iterator[Dockerd]:
    """Run an engine until the block ends, however it does, with the image; its containers end with it."""
    program = _program("dockerd")
    assert program is not None
    # Its own folder, and a short name: the path of a socket may have 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="nodus-bench-"))
    try:
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [program, "--config-file", _configuration(folder)], stdout=log, stderr=subprocess.STDOUT
            )
        try:
            _wait_for(process, folder)
            engine = Dockerd(folder / "s", process.pid)
            _import_image(engine.client)
            yield engine
        finally:
            # Without `live-restore` its containers end with it.
            process.terminate()
            process.wait()
    finally:
        _discard(folder)


def _configuration(folder: Path) -> Path:
    path = folder / "daemon.json"
    settings = {
        "data-root": str(folder / "data"),
        "exec-root": str(folder / "exec"),
        "pidfile": str(folder / "pid"),
        "hosts": [f"unix://{folder / 's'}"],
        "bridge": "none",
        "iptables": False,
        "ip-forward": False,
        "ip-masq": False,
    }
    path.write_text(json.dumps(settings), encoding="utf-8")
    return path


def _wait_for(process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + STARTING_SECONDS
    with client(folder / "s") as asking:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if asking.get("/_ping").is_success:
                    return
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the engine did not start: {(folder / 'log').read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)


def _import_image(asking: httpx.Client) -> None:
    program = _program("busybox")
    assert program is not None
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        folder = tarfile.TarInfo("bin")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(folder)
        busybox = tarfile.TarInfo("bin/busybox")
        content = program.read_bytes()
        busybox.size, busybox.mode = len(content), 0o755
        archive.addfile(busybox, io.BytesIO(content))
        for applet in _APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    repository, _, tag = IMAGE.rpartition(":")
    params = {"fromSrc": "-", "repo": repository, "tag": tag, "changes": "ENV PATH=/bin"}
    headers = {"Content-Type": "application/x-tar"}
    asking.post("/images/create", params=params, content=written.getvalue(), headers=headers).raise_for_status()


def _program(name: str) -> Path | None:
    found = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin")))
    return None if found is None else Path(found)


def _discard(folder: Path) -> None:
    """Remove its folder, and what is still mounted there."""
    for line in reversed(Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()):
        where = line.split()[1]
        if where.startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", where], check=False, capture_output=True)
    shutil.rmtree(folder, ignore_errors=True)
