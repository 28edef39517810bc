"""A real Slurm on loopback: a controller, and two nodes that are this host, each with eight GPUs in name only."""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import secrets
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from patience import PATIENCE_SECONDS, eventually
from typing_extensions import Self

from .process import Account, ServerFailed, ServerProcess, discard, free_port

NODES = ("n1", "n2")
GPUS_OF_A_NODE = 8
_IDS = 10_000
NODE_TIMEOUT_SECONDS = 10
"""How long the controller hears nothing of a node before it calls what runs there failed."""


class SlurmCluster:
    """A cluster, started by `with` and gone after it.

    It runs as the user that the tests run as. A device such as `/dev/null` cannot stand for several GPUs, so terminals
    do, which nobody opens.

    Args:
        programs: Slurm's and MUNGE's, by name.
    """

    def __init__(self, programs: Mapping[str, Path]) -> None:
        self._programs = programs
        self._account = Account(may_be_root=True)
        self._folder = self._account.make_folder()
        self._ports = {name: free_port() for name in ("ctl", *NODES)}
        self._servers: dict[str, ServerProcess] = {}
        self._first_id = 1
        self._ids_repeat = False
        self.folder = self._folder / "shared"
        """Stands for a file system that every node sees."""
        self.configuration = self._folder / "slurm.conf"
        """What `SLURM_CONF` names."""

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End everything, jobs too, and remove it."""
        for server in reversed(self._servers.values()):
            server.stop()
        for pid in self._pids_of_jobs():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        discard(self._folder)

    def command(self, *words: str | Path) -> str:
        """Run one of Slurm's commands, and return what it prints."""
        program = self._programs[str(words[0])]
        environment = {**os.environ, "SLURM_CONF": str(self.configuration)}
        done = subprocess.run(
            [program, *words[1:]],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise ServerFailed(f"{words[0]} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def program(self, name: str) -> Path:
        """Return one of Slurm's programs."""
        return self._programs[name]

    def jobs(self) -> list[tuple[str, str]]:
        """Return name and state of every job that Slurm knows."""
        rows = self.command("squeue", "--noheader", "--states=all", "--format=%j|%T").splitlines()
        return [(name, state) for name, state in (row.split("|") for row in rows)]

    def kill_controller(self) -> None:
        """Kill the controller with -9."""
        self._kill("ctl")

    def start_controller(self) -> None:
        """Start the controller again.

        It has saved what it knew every few seconds only, and would give ids again that nodes still know, and refuse.
        """
        self._first_id += _IDS
        self._ids_repeat = False
        # At once: a command of some test may be reading it.
        changed = self.configuration.with_suffix(".new")
        changed.write_text(self._configure())
        changed.replace(self.configuration)
        self._servers["ctl"].start()

    def forget_jobs(self) -> None:
        """Kill the controller and take away what it remembers: it gives ids again that it gave before."""
        self._kill("ctl")
        discard(self._folder / "state")
        (self._folder / "state").mkdir()
        self._ids_repeat = True
        self._servers["ctl"].start()
        self._await_nodes()

    def has_saved(self, name: str) -> bool:
        """Whether the controller would know a job again after its death; it saves what it knows every few seconds."""
        saved = self._folder / "state" / "job_state"
        return saved.exists() and name.encode() in saved.read_bytes()

    def kill_node(self, node: str) -> None:
        """Kill a node's daemon with -9; what it runs goes on."""
        self._kill(node)

    def start_node(self, node: str) -> None:
        """Start a node's daemon again."""
        self._servers[node].start()

    def pause(self) -> None:
        """Have jobs wait in the queue."""
        self.command("scontrol", "update", "PartitionName=gpu", "State=DOWN")

    def go_on(self) -> None:
        """Have jobs go to nodes again."""
        self.command("scontrol", "update", "PartitionName=gpu", "State=UP")

    def repair(self) -> None:
        """Start what is down, and wait until both nodes take jobs."""
        for name, server in self._servers.items():
            if not self._daemons(name):
                server.stop()
                if name == "ctl":
                    self.start_controller()
                else:
                    server.start()
        self._await_nodes()

    def bring_back_nodes(self) -> None:
        """Let nodes take jobs again that the controller has taken out, as an administrator does after a failure."""
        self._are_usable()

    def empty(self) -> None:
        """End every job, and what one left behind."""
        if self._ids_repeat:
            self.kill_controller()
        self.repair()
        self.command("scancel", f"--user={pwd.getpwuid(os.geteuid()).pw_name}")
        for pid in self._pids_of_jobs():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # A node that is down has no jobs: nobody need wait until it has said that what a test killed is gone. It may be
        # back by itself before it is told to be.
        self.command("scontrol", "update", f"NodeName={','.join(NODES)}", "State=DOWN", "Reason=tests")
        eventually(lambda: not self._open_jobs(), lambda: f"jobs are left: {self.jobs()}")
        self._await_nodes()

    def _open_jobs(self) -> str:
        return self.command("squeue", "--noheader", "--states=PENDING,RUNNING,COMPLETING,CONFIGURING,SUSPENDED")

    def _start(self) -> None:
        self.folder.mkdir()
        (self._folder / "state").mkdir()
        key = self._folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        self.configuration.write_text(self._configure())
        (self._folder / "gres.conf").write_text(_gres())
        self._add("munge", self._munged(), lambda: _answers_on(self._munge_socket()))
        self._add("ctl", [self._programs["slurmctld"], "-D", "-f", self.configuration], self._controller_answers)
        for node in NODES:
            command: list[str | Path] = [self._programs["slurmd"], "-D", "-N", node, "-f", self.configuration]
            self._add(node, command, functools.partial(self._is_up, node))
        for server in self._servers.values():
            server.start()
        self._await_nodes()

    def _is_up(self, name: str) -> bool:
        return bool(self._daemons(name))

    def _add(self, name: str, command: Sequence[str | Path], is_ready: Callable[[], bool]) -> None:
        folder = self._folder / name
        folder.mkdir()
        self._servers[name] = ServerProcess(
            lambda _port: command, lambda _port: is_ready(), self._account, folder, ended_by="KILL"
        )

    def _munged(self) -> Sequence[str | Path]:
        files = {"socket": "s", "key-file": "munge.key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        options = [f"--{name}={self._folder / file}" for name, file in files.items()]
        return [self._programs["munged"], "--foreground", "--force", *options]

    def _munge_socket(self) -> Path:
        return self._folder / "s"

    def _controller_answers(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self._ports["ctl"]), timeout=PATIENCE_SECONDS).close()
            return True
        return False

    def _await_nodes(self) -> None:
        eventually(self._are_usable, lambda: "the nodes do not come up:\n" + self.command("sinfo", "--Node", "--long"))

    def _are_usable(self) -> bool:
        with contextlib.suppress(ServerFailed):
            states = self.command("sinfo", "--noheader", "--Node", "--format=%T").split()
            for node, state in zip(NODES, states, strict=True):
                if state.startswith(("down", "drain")):
                    # A test killed its daemon: nobody need wait until the controller finds out that it is back.
                    self.command("scontrol", "update", f"NodeName={node}", "State=RESUME")
            return all(state in ("idle", "mixed", "allocated", "completing") for state in states)
        return False

    def _kill(self, name: str) -> None:
        for pid in self._daemons(name):
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not self._daemons(name), lambda: f"{name} does not die")
        self._servers[name].stop()

    def _daemons(self, name: str) -> list[int]:
        """The processes of a daemon. What a node runs for a job has another command line, and a zombie has none."""
        program = str(self._programs[{"munge": "munged", "ctl": "slurmctld"}.get(name, "slurmd")])
        found = []
        for pid in _pids():
            words = _read(pid, "cmdline").decode(errors="replace").split("\0")
            is_here = any(str(self._folder) in word for word in words)
            if words[0] == program and is_here and (name not in NODES or name in words):
                found.append(pid)
        return found

    def _pids_of_jobs(self) -> list[int]:
        """The processes of jobs: those whose command line or environment names a folder of this cluster."""
        daemons = {pid for name in self._servers for pid in self._daemons(name)}
        needle = str(self._folder).encode()
        keepers = [pid for pid in _pids() if _read(pid, "cmdline").startswith(b"/bin/sh\0-c\0exec 3<&0")]
        return [
            pid
            for pid in _pids()
            if pid not in daemons
            and pid not in keepers
            and (needle in _read(pid, "environ") or needle in _read(pid, "cmdline"))
        ]

    def _configure(self) -> str:
        user, host = pwd.getpwuid(os.geteuid()).pw_name, socket.gethostname().split(".")[0]
        settings = {
            "ClusterName": "nodus-tests",
            "SlurmctldHost": f"{host}(127.0.0.1)",
            "SlurmctldPort": self._ports["ctl"],
            "AuthType": "auth/munge",
            "AuthInfo": f"socket={self._munge_socket()}",
            "SlurmUser": user,
            "SlurmdUser": user,
            "StateSaveLocation": self._folder / "state",
            "SlurmdSpoolDir": f"{self._folder}/spool-%n",
            "SlurmctldPidFile": self._folder / "slurmctld.pid",
            "SlurmdPidFile": f"{self._folder}/slurmd-%n.pid",
            "SlurmdParameters": "config_overrides",
            "ProctrackType": "proctrack/linuxproc",
            "TaskPlugin": "task/none",
            "SelectType": "select/cons_tres",
            "SelectTypeParameters": "CR_Core_Memory",
            "DefMemPerNode": 100,
            "GresTypes": "gpu",
            "FirstJobId": self._first_id,
            "DebugFlags": "NO_CONF_HASH",
            "ReturnToService": 2,
            "SlurmdTimeout": NODE_TIMEOUT_SECONDS,
            "KillWait": 5,
            "JobRequeue": 0,
            "SchedulerParameters": "batch_sched_delay=0,sched_interval=1",
        }
        lines = [f"{name}={value}" for name, value in settings.items()]
        lines += [
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={self._ports[node]} CPUs=8 RealMemory=4000 "
            f"Gres=gpu:h100:{GPUS_OF_A_NODE}"
            for node in NODES
        ]
        lines.append("PartitionName=gpu Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP")
        return "\n".join(lines) + "\n"


def _gres() -> str:
    lines = ["AutoDetect=off"]
    for number, node in enumerate(NODES):
        first = number * 10 + 1
        lines.append(f"NodeName={node} Name=gpu Type=h100 File=/dev/tty[{first}-{first + GPUS_OF_A_NODE - 1}]")
    return "\n".join(lines) + "\n"


def _answers_on(path: Path) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))
        return True
    return False


def _pids() -> list[int]:
    return [int(each) for each in os.listdir("/proc") if each.isdigit() and int(each) != os.getpid()]


def _read(pid: int, what: str) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/{what}").read_bytes()
    return b""
