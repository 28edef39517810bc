"""Real engines for containers, of their own folder and socket: Docker Engine, and Podman's service."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import httpx
from patience import PATIENCE_SECONDS

from .certificates import Authority
from .process import Pausable

DOCKER = "docker"
PODMAN = "podman"
_HIDING_RUNTIME = """\
#!/bin/sh
# Runs a program at once, and says so only when nobody minds any more.
runc "$@"
status=$?
for word; do
    if [ "$word" = start ]; then
        while [ -e '{hold}' ]; do sleep 0.05; done
    fi
done
exit $status
"""


class ContainerEngine(Pausable):
    """An engine that answers the Docker Engine API on a socket.

    Args:
        program: the engine's.
        registry: the host and port of a registry that it may pull from without TLS.
    """

    kind = ""
    _in_memory: ClassVar[Sequence[str]] = ()
    """Which of its folders are on a file system that a restart of the host empties."""

    def __init__(self, program: Path, registry: str) -> None:
        super().__init__(program, may_be_root=True)
        self._registry = registry
        self._runtime = shutil.which("runc") or "runc"

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self._folder / "s"

    @property
    def endpoint(self) -> str:
        """The socket, as the operator names it."""
        return f"unix://{self.socket}"

    def client(self) -> httpx.Client:
        """Connect to it, below the driver."""
        return httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self.socket)),
            base_url="http://engine/v1.41",
            timeout=PATIENCE_SECONDS,
        )

    def containers(self) -> list[dict[str, Any]]:
        """Return all containers, running or not."""
        with self.client() as client:
            found: list[dict[str, Any]] = client.get("/containers/json", params={"all": "true"}).json()
            return found

    def inspect(self, container_id: str | None) -> dict[str, Any]:
        """Return what it says of one container."""
        with self.client() as client:
            found: dict[str, Any] = client.get(f"/containers/{container_id}/json").raise_for_status().json()
            return found

    def find(self, container_id: str) -> dict[str, Any] | None:
        """Return what it says of one container; None if there is none of that id any more."""
        with self.client() as client:
            answer = client.get(f"/containers/{container_id}/json")
            return None if answer.status_code == httpx.codes.NOT_FOUND else answer.raise_for_status().json()

    def networks(self) -> list[str]:
        """Return the names of all networks that the control plane made."""
        with self.client() as client:
            return [each["Name"] for each in client.get("/networks").json() if each["Name"].startswith("nodus-")]

    def empty(self) -> None:
        """Remove every container and every network that is not the engine's own."""
        with self.client() as client:
            for container in client.get("/containers/json", params={"all": "true"}).json():
                client.delete(f"/containers/{container['Id']}", params={"force": "true", "v": "true"})
            for network in client.get("/networks").json():
                if network["Name"].startswith("nodus-"):
                    client.delete(f"/networks/{network['Id']}")

    def kill(self) -> None:
        """Kill the engine with -9, and nothing else."""
        pid = self._pid()
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while Path(f"/proc/{pid}/stat").exists():
            assert time.monotonic() < deadline, "the engine does not die"
            time.sleep(0.01)
        self._process.stop()

    def cut_power(self) -> None:
        """Kill the engine and all that it runs with -9, as if its host had no power, and remove what is in memory."""
        self._kill_all()
        self._process.stop()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while any(self._is_mine(pid) for pid in _pids()):
            assert time.monotonic() < deadline, "what the engine runs does not die"
            time.sleep(0.01)
        for name in self._in_memory:
            _unmount_below(self._folder / name)
            shutil.rmtree(self._folder / name, ignore_errors=True)

    def _kill_all(self) -> None:
        mine = [pid for pid in _pids() if self._is_mine(pid)]
        mine += _descendants(mine)
        for number in (signal.SIGSTOP, signal.SIGKILL):  # Nobody sees another one die.
            for pid in mine:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    @contextlib.contextmanager
    def hiding_starts(self) -> Iterator[None]:
        """Restart it as one that does not learn of a program's begin, and as the usual one after the block."""
        usual, hold, hiding = self._runtime, self._folder / "hold", self._folder / "hiding-runtime"
        hiding.write_text(_HIDING_RUNTIME.format(hold=hold))
        hiding.chmod(0o700)
        hold.touch()
        try:
            self._restart_on(str(hiding))
            yield
        finally:
            hold.unlink()
            self._restart_on(usual)

    def _restart_on(self, runtime: str) -> None:
        self.stop()
        self._runtime = runtime
        self.start_again()

    def _is_mine(self, pid: int) -> bool:
        """Say whether a process is the engine, or of it; not the shell that keeps it."""
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            return words[0] != b"/bin/sh" and any(bytes(self._folder) in word for word in words)
        return False

    def close(self) -> None:
        """Remove its containers, stop it and remove everything."""
        if self._is_ready(0):
            self.empty()
        self._process.stop()
        self._kill_all()  # What it does not know of any more lives on.
        super().close()
        _unmount_below(self._folder)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _is_ready(self, port: int) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(self.socket))
            with self.client() as client:
                return client.get("/_ping").is_success
        return False


class DockerEngine(ContainerEngine):
    """`dockerd`, whose containers live on when it is killed."""

    kind = DOCKER
    _in_memory = ("exec",)

    def __init__(self, program: Path, registry: str) -> None:
        super().__init__(program, registry)
        self.authority, self.stranger = (Authority(self._make_folder(name)) for name in ("authority", "stranger"))
        """Whose certificates it accepts, and whose it does not."""
        self._own = self.authority.issue("engine")
        self._lets_live = True

    @property
    def port(self) -> int:
        """Where it listens, with certificates."""
        return self._process.port

    def kill_containerd(self) -> None:
        """Kill with -9 the part of it that starts programs. It is started again by the rest."""
        configuration = self._folder / "exec" / "containerd" / "containerd.toml"
        pattern = f".*containerd --config {configuration}.*"
        found = subprocess.run(["pgrep", "-x", "-f", pattern], capture_output=True, text=True, check=True)
        os.kill(int(found.stdout), signal.SIGKILL)

    @contextlib.contextmanager
    def without_live_restore(self) -> Iterator[None]:
        """Restart it as one that ends its containers when it is stopped, and as the usual one after the block."""
        self._restart(lets_live=False)
        try:
            yield
        finally:
            self._restart(lets_live=True)

    def _restart(self, *, lets_live: bool) -> None:
        self.stop()
        self._lets_live = lets_live
        self.start_again()

    def _make_folder(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir(0o700)
        return folder

    def _command(self, port: int) -> Sequence[str | Path]:
        # What was killed leaves its number behind, which may be another's by now, or a process's that nobody reaps.
        for left in ("pid", "exec/containerd/containerd.pid"):
            (self._folder / left).unlink(missing_ok=True)
        configuration = self._folder / "daemon.json"
        configuration.write_text(
            json.dumps(
                {
                    "data-root": str(self._folder / "data"),
                    "exec-root": str(self._folder / "exec"),
                    "pidfile": str(self._folder / "pid"),
                    "hosts": [self.endpoint, f"tcp://127.0.0.1:{port}"],
                    "tlsverify": True,
                    "tlscacert": str(self.authority.certificate),
                    "tlscert": str(self._own.certificate),
                    "tlskey": str(self._own.key),
                    "bridge": "none",
                    "iptables": False,
                    "ip-forward": False,
                    "ip-masq": False,
                    "live-restore": self._lets_live,
                    "runtimes": {"tested": {"path": self._runtime}},
                    "default-runtime": "tested",
                    "insecure-registries": [self._registry],
                    "default-address-pools": [{"base": "10.213.0.0/16", "size": 28}],
                }
            )
        )
        return [self._program, "--config-file", configuration]


class PodmanEngine(ContainerEngine):
    """The service of Podman, which serves what other processes of Podman would see too."""

    kind = PODMAN
    _in_memory = ("run", "tmp")

    def _command(self, port: int) -> Sequence[str | Path]:
        files = {
            "CONTAINERS_CONF": (
                "[engine]\n"
                'runtime = "tested"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
                f'tmp_dir = "{self._folder}/tmp"\nvolume_path = "{self._folder}/volumes"\n'
                f'[engine.runtimes]\ntested = ["{self._runtime}"]\n'
                "[network]\n"
                f'network_backend = "netavark"\nnetwork_config_dir = "{self._folder}/networks"\n'
                'default_subnet_pools = [{"base" = "10.214.0.0/16", "size" = 28}]\n'
                "[containers]\n"
                f'init_path = "{shutil.which("catatonit")}"\n'
            ),
            "CONTAINERS_STORAGE_CONF": (
                f'[storage]\ndriver = "overlay"\ngraphroot = "{self._folder}/graph"\nrunroot = "{self._folder}/run"\n'
            ),
            "CONTAINERS_REGISTRIES_CONF": f'[[registry]]\nlocation = "{self._registry}"\ninsecure = true\n',
        }
        variables = [f"XDG_RUNTIME_DIR={self._folder}"]
        for name, content in files.items():
            (self._folder / name).write_text(content)
            variables.append(f"{name}={self._folder / name}")
        return ["env", *variables, self._program, "system", "service", "--time=0", self.endpoint]


def _unmount_below(folder: Path) -> None:
    """Unmount what an engine left mounted, so that its folder can be removed."""
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        where = line.split()[1]
        if where.startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", where], check=False, capture_output=True)


def _pids() -> list[int]:
    return [int(each) for each in os.listdir("/proc") if each.isdigit() and int(each) != os.getpid()]


def _descendants(pids: Sequence[int]) -> list[int]:
    """Return the children of processes, and theirs."""
    found: list[int] = []
    parents = set(pids)
    below: dict[int, list[int]] = {}
    for pid in _pids():
        with contextlib.suppress(OSError):
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            below.setdefault(parent, []).append(pid)
    while parents:
        children = {child for parent in parents for child in below.get(parent, ())} - set(found)
        found += children
        parents = children
    return found
