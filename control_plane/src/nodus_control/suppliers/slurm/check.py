"""What `nodus-control suppliers check` says about a cluster. Pure but for `check`, which asks it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from nodus_core.suppliers_file import GPU_FLAGS, SlurmOptions, gives_gpus

from ..findings import Finding, Level
from ..protocol import EngineUnavailable
from .commands import Cluster
from .transport import ShellTransport, Transport

_SETTING = re.compile(r"^(\w+)\s*=\s*(.*?)\s*$", re.MULTILINE)
_GPUS = re.compile(r"(?:^|,)(?:gres[/:])?gpu:([A-Za-z0-9_.-]+):\d")
_NO_LIMIT = ("infinite", "n/a", "unlimited")
_OLDEST = (20, 11)
_ENGINES_WITH_CLIENTS = ("docker", "nerdctl", "podman")


def check(options: SlurmOptions, gpus: Iterable[str] = (), *, transport: Transport | None = None) -> list[Finding]:
    """Ask a cluster for everything that a job would need, without giving it one.

    Args:
        options: its section of the suppliers file.
        gpus: the GPU models that the supplier offers.
        transport: where Slurm's commands are; by default, as `options` say.
    """
    cluster = Cluster(transport or ShellTransport(options.transport), options.folder)
    try:
        settings = parse_configuration(cluster.configuration())
        name, _ = cluster.identity()
        cluster.list_attempts()
        partitions = cluster.partitions(options.partition)
    except EngineUnavailable as exc:
        where = "on this host" if options.transport is None else f"on {options.transport.destination}"
        return [Finding(Level.FAULT, f"Slurm's commands {where}, or the folder {options.folder}: {exc.detail}")]
    version = settings.get("SLURM_VERSION", "of an unknown version")
    found = [Finding(Level.GOOD, f"cluster {name} answers, Slurm {version}; {options.folder} can be written to")]
    found += judge_version(version)
    found += judge_templates(options)
    found += judge_partitions(partitions, options, gpus)
    return found + judge_configuration(settings)


def parse_configuration(text: str) -> dict[str, str]:
    """Read what `scontrol show config` prints."""
    return dict(_SETTING.findall(text))


def judge_version(version: str) -> list[Finding]:
    """Say whether a version is one that knows every option that is used."""
    numbers = tuple(int(each) for each in re.findall(r"\d+", version)[:2])
    if len(numbers) == 2 and numbers < _OLDEST:
        return [Finding(Level.WARNING, f"Slurm {version} is older than 20.11: nothing of it was tried")]
    return []


def judge_templates(options: SlurmOptions) -> list[Finding]:
    """Say whether a container gets GPUs, and ends with its job: one of podman or docker is not its client's child."""
    found = []
    if options.image_command and not gives_gpus(options.image_command):
        flags = ", ".join(GPU_FLAGS)
        text = f"`image_command` gives the container no GPU: add one of {flags} before the image; jobs are refused"
        found.append(Finding(Level.FAULT, text))
    program = options.image_command[0].rpartition("/")[2] if options.image_command else ""
    if program in _ENGINES_WITH_CLIENTS and not options.stop_command:
        text = f"`stop_command` is empty: a container goes on when its client, {program}, is killed at the end of a job"
        found.append(Finding(Level.WARNING, text))
    return found


def judge_partitions(said: str | None, options: SlurmOptions, gpus: Iterable[str]) -> list[Finding]:
    """Say whether the partition is there, takes jobs, and has the GPUs that are offered."""
    rows = [[field.strip() for field in line.split("|")] for line in (said or "").splitlines() if line.count("|") == 4]
    if options.partition is None:
        rows = [row for row in rows if row[0].endswith("*")]
    what = "the default partition" if options.partition is None else f"partition {options.partition}"
    if not rows:
        return [Finding(Level.FAULT, f"{what} is not there: set `partition` to one that `sinfo` names")]
    found = []
    if all(row[1].lower() != "up" for row in rows):
        found.append(Finding(Level.FAULT, f"{what} takes no jobs: it is {rows[0][1]}"))
    limits = sorted({row[2] for row in rows if row[2].lower() not in _NO_LIMIT})
    if limits:
        found.append(
            Finding(
                Level.WARNING,
                f"{what} has a time limit of {', '.join(limits)}: a job whose `max_runtime_seconds`, and two minutes "
                "more, are above it is refused by Slurm, or waits in its queue, which has no limit here",
            )
        )
    there = {name for row in rows for name in _GPUS.findall(row[4])}
    for gpu in gpus:
        name = options.gpu_names.get(gpu, gpu)
        if name not in there:
            names = ", ".join(sorted(there)) or "none with a type"
            found.append(
                Finding(
                    Level.FAULT, f"{what} has no GPU {name} ({gpu}): it has {names}. `gpu_names` maps one to the other"
                )
            )
    return found


def judge_configuration(settings: Mapping[str, str]) -> list[Finding]:
    """Name what a cluster does that an operator should know of."""
    found = []
    if settings.get("JobRequeue") == "1":
        text = "JobRequeue is 1: our jobs say --no-requeue, and a copy that runs all the same ends at once"
        found.append(Finding(Level.GOOD, text))
    if "cgroup" not in settings.get("TaskPlugin", ""):
        text = "TaskPlugin has no task/cgroup: a job can use more cores, memory and GPUs than it was given"
        found.append(Finding(Level.WARNING, text))
    elif settings.get("ConstrainDevices", "no").lower() != "yes":
        text = "ConstrainDevices is not yes in cgroup.conf: a job can use GPUs that others were given"
        found.append(Finding(Level.WARNING, text))
    if "cgroup" not in settings.get("ProctrackType", ""):
        text = "ProctrackType is not proctrack/cgroup: what a job detaches can go on after its end"
        found.append(Finding(Level.WARNING, text))
    preemption = settings.get("PreemptMode", "").upper()
    if "REQUEUE" in preemption:
        text = "PreemptMode requeues: a job that is preempted is given up here, and placed again"
        found.append(Finding(Level.WARNING, text))
    if "SUSPEND" in preemption or "GANG" in preemption:
        text = (
            "PreemptMode suspends: a job that is suspended for a minute or more ends when it goes on, or is given up "
            "before, and is placed again; have our partition not be preempted (PreemptMode=OFF)"
        )
        found.append(Finding(Level.WARNING, text))
    return found
