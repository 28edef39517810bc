"""What Slurm's commands say, as values. Pure.

The queue is asked for with a format of its own and not with `--json`: that needs a plug-in which many sites have not
built, changes its shape from version to version, and before Slurm 23 holds everybody's jobs whatever one asks for. An
answer counts only with its last line, so that half of one never says that a job is gone.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

FORMAT = "%A|%T|%j|%r"
"""Slurm's id, the state, the name and the reason, in `squeue --format`.

A name of ours holds neither `|` nor a line break. That of another job of our user may: it is cut at the `|`, and what
follows a line break is no job.
"""

END = "end of queue"

_ID = re.compile(r"([0-9]+)(?:;.*)?")

# Those in which nothing of a job runs, or will. `NODE_FAIL` is one although its program may go on: Slurm's word about
# that is not believed, the script's is.
_OVER = frozenset(
    [
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "NODE_FAIL", "OUT_OF_MEMORY"),
        *("PREEMPTED", "RECONFIG_FAIL", "REVOKED", "TIMEOUT"),
    ]
)
_WAITING = frozenset(
    ["PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"]
)


class Standing(enum.Enum):
    """Where a job stands in the queue."""

    WAITING = "waiting"
    RUNNING = "running"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job in the queue, by its own words; `state` is Slurm's."""

    slurm_id: str
    name: str
    state: str
    reason: str = ""

    @property
    def standing(self) -> Standing:
        """Where it stands; what is unknown may run."""
        if self.state in _OVER:
            return Standing.OVER
        return Standing.WAITING if self.state in _WAITING else Standing.RUNNING


@dataclass(frozen=True, slots=True)
class Queue:
    """Everything of our user that a living controller had at one moment, by name; several may have one name."""

    jobs: Mapping[str, Sequence[QueuedJob]] = field(default_factory=dict)

    def of(self, name: str) -> Sequence[QueuedJob]:
        """Return the jobs of a name, those that run first, then those that wait."""
        order = [Standing.RUNNING, Standing.WAITING, Standing.OVER]
        return sorted(self.jobs.get(name, ()), key=lambda job: order.index(job.standing))

    def is_active(self, name: str) -> bool:
        """Whether a job of that name runs or waits."""
        return any(job.standing is not Standing.OVER for job in self.jobs.get(name, ()))


def parse_queue(said: str) -> Queue | None:
    """Read an answer of `squeue`; None where it is not a whole one, which its last line proves.

    A line that is no job's is left out, and a job whose state is not told may run.
    """
    lines = said.splitlines()
    if not lines or lines[-1] != END:
        return None
    jobs: dict[str, list[QueuedJob]] = {}
    for line in lines[:-1]:
        slurm_id, state, name, reason = [*line.split("|", 3), "", "", ""][:4]
        if not _ID.fullmatch(slurm_id):
            continue
        jobs.setdefault(name, []).append(QueuedJob(slurm_id, name, state, reason))
    return Queue(jobs)


def parse_submitted(said: str) -> str | None:
    """Return the id in an answer of `sbatch --parsable`, which may name the cluster after it; None for no answer."""
    for line in reversed(said.splitlines()):
        found = _ID.fullmatch(line.strip())
        if found:
            return found[1]
    return None


class Refusal(enum.Enum):
    """What it means that `sbatch` submitted nothing."""

    UNREACHABLE = "unreachable"
    FULL = "full"
    IMPOSSIBLE = "impossible"


_UNREACHABLE = (
    "unable to contact slurm controller",
    "socket timed out",
    "connection refused",
    "connection timed out",
    "communication connection failure",
    "zero bytes were transmitted",
    "standby mode",
    "resource temporarily unavailable",
    "protocol authentication error",
    "munge",
    "unable to process configuration file",
    "establish a configuration source",
)
# Those of limits are messages, and the names of reasons such as `AssocMaxSubmitJobLimit`.
_FULL = (
    "job violates accounting/qos policy",
    "job submit limit",
    "submitjob",
    "job queue full",
    "slurm temporarily unable to accept job",
)


def classify_refusal(said: str) -> Refusal:
    """Say what an error of `sbatch` means. What is not known is taken for the cluster's: the place is not tried now."""
    lowered = said.lower()
    if any(phrase in lowered for phrase in _UNREACHABLE):
        return Refusal.UNREACHABLE
    if any(phrase in lowered for phrase in _FULL):
        return Refusal.FULL
    return Refusal.IMPOSSIBLE
