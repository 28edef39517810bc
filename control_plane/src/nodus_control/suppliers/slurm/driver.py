"""The `slurm` driver: truth is in files, and Slurm only answers whether a job is still there.

Slurm has no idempotent submission, gives ids again, forgets what has ended, and says of a program that goes on that its
node failed. So an attempt is a script in a folder of its own (`script.py`), which runs the program at most once however
often it is submitted, and writes down what became of it. Everything that the driver looks for it looks for by name.

How an attempt stands is read from its records. Slurm's queue is asked for those that no node has yet, and for those
whose script has not been heard of for too long; one question, every few seconds, for all of them.

All jobs run as one Unix user: a job can reach the records of another, and its own. What Slurm itself saw running is
billed at least.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence

from nodus_core.suppliers_file import SlurmOptions

from ..life import LOST_SECONDS
from ..protocol import (
    CapacityRefused,
    EngineUnavailable,
    Found,
    LogChunk,
    Placement,
    Report,
    Workload,
    always,
)
from .commands import Cluster
from .names import name_of, parse_name
from .queue import Queue, Standing
from .records import Records, Silence
from .reports import report_end, report_queued, report_unfinished, report_withdrawn
from .script import OUTPUT_LIMIT_BYTES, STOP_SECONDS, Pace, batch_script, secret_text
from .shared import Shared
from .submitting_database import SubmittingDatabase
from .templates import command_of, fill
from .transport import ShellTransport, Transport
from .watching import Watched

SLURM = "slurm"

LOOK_SECONDS = 1.0
QUEUE_SECONDS = 5.0
PATIENCE_SECONDS = 2.5
"""How long a poll waits for an answer that others wait for too."""

END_SHARE = 0.75
"""After which part of that time a living controller is asked to end what it still has of it."""

NET_SECONDS = 120
"""By how much Slurm's own limit is above ours, which is exact."""

LOOKED_FOR_SECONDS = 120.0
"""For how long an attempt that nobody polls any more is still looked at with the others."""

_SLACK_SECONDS = STOP_SECONDS + 30.0
_OUT_OF_MEMORY, _TIMEOUT = "OUT_OF_MEMORY", "TIMEOUT"

_logger = logging.getLogger(__name__)


class SlurmDriver:
    """Gives each placement to a cluster at most once, however often and by however many control planes it is submitted.

    Args:
        options: what the operator says about the cluster.
        context: whose jobs these are.
        transport: where Slurm's commands are; by default, as `options` say.
        pace: how scripts show that they live.
        lost_seconds: how long one that does not is waited for; longer than `pace.silent_seconds`.
        output_limit_bytes: how much of a job's output is kept; a multiple of 512.
        look_seconds: how old what is known of the records may be.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        options: SlurmOptions,
        context: SubmittingDatabase,
        *,
        transport: Transport | None = None,
        pace: Pace | None = None,
        lost_seconds: float = LOST_SECONDS,
        output_limit_bytes: int = OUTPUT_LIMIT_BYTES,
        look_seconds: float = LOOK_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._context = context
        self._pace = pace or Pace()
        self._lost_seconds = lost_seconds
        self._output_limit_bytes = output_limit_bytes
        self._clock = clock
        self._cluster = Cluster(transport or ShellTransport(options.transport), options.folder)
        self._lock = threading.Lock()
        self._watched: dict[str, Watched] = {}
        self._records = Shared(self._look, age_seconds=look_seconds, patience_seconds=PATIENCE_SECONDS, clock=clock)
        self._queue = Shared(self._ask, age_seconds=QUEUE_SECONDS, patience_seconds=PATIENCE_SECONDS, clock=clock)

    @property
    def name(self) -> str:
        """`slurm`."""
        return SLURM

    @property
    def runs_commands(self) -> bool:
        """Yes."""
        return True

    def identity(self) -> str:
        """Return the cluster's name, and what is in a random file of the folder.

        Raises:
            EngineUnavailable: it cannot be asked now.
        """
        cluster, mark = self._cluster.identity()
        return f"{SLURM}:{cluster}:{mark}"

    def submit(self, placement: Placement, workload: Workload, now: float, holds: Callable[[], bool] = always) -> None:
        """Put the attempt's script into Slurm's queue. A second copy of it in the queue runs nothing.

        Raises:
            EngineUnavailable: nothing is known.
            CapacityRefused: Slurm does not take it.
            SubmissionRefused: `cannot_run`, `command_required` or `invalid_command`.
        """
        name = self._name(placement)
        folder = self._cluster.folder_of(name)
        work = f"{folder}/work"
        command = command_of(self._options, workload, work=work)
        script = batch_script(
            folder=folder,
            limit_seconds=workload.max_runtime_seconds,
            gpu_count=workload.gpu_count,
            stop_command=fill(self._options.stop_command, image=workload.image, work=work),
            pace=self._pace,
            output_limit_bytes=self._output_limit_bytes,
        )
        env = {
            "NODUS_JOB_ID": placement.job_id,
            "NODUS_ATTEMPT": str(placement.attempt),
            "NODUS_WORK_DIR": work,
            **workload.env,
        }
        secret = secret_text(command, env)
        self._cluster.prepare(name, incarnation=self._context.incarnation, script=script, secret=secret)
        queue = self._queue.peek()
        if queue is not None and queue.is_active(name):
            return
        if not holds():
            # Whoever has the attempt now puts it into the queue, or takes it away.
            return
        try:
            self._cluster.start(name, self._batch_options(name, workload, folder))
        except CapacityRefused:
            # A copy of it may be in the queue all the same, if the answer to an earlier call was lost.
            self._cluster.withdraw(name)
            if not self._cluster.look([name]).get(name, Records()).is_claimed:
                raise

    def poll(self, placement: Placement, workload: Workload, now: float) -> Report:
        """Report how the attempt stands by its records, and by Slurm's queue where these do not say.

        Raises:
            EngineUnavailable: neither can be asked now.
        """
        name = self._name(placement)
        found = self._recorded(name)
        if found.ended is None and found.withdrawn_at is None and not found.is_claimed:
            queued = self._queue.get().of(name)
            if not queued or queued[0].standing is Standing.OVER:
                queued = self._queue.get(since_now=True).of(name)
            if queued and queued[0].standing is not Standing.OVER:
                return report_queued(queued[0], now)
            # No copy of it waits or runs. Whatever is still on its way to the queue will find that it was taken.
            self._cluster.withdraw(name)
            found = self._records.get(since_now=True).get(name, Records())
        if found.is_claimed and found.ended is None:
            silent_seconds, worth_noting = self._silent_seconds(name, found)
            if silent_seconds < self._lost_seconds:
                if worth_noting is not None:
                    with contextlib.suppress(EngineUnavailable):
                        self._cluster.note_silence(name, worth_noting)
                if silent_seconds >= END_SHARE * self._lost_seconds:
                    self._end_silent(name)
                reference = placement.engine_ref or self._reference(name)
                return report_unfinished(found, now, engine_ref=reference)
            found = self._settle(name, found)
            if found.ended is None:
                return report_unfinished(found, now)
        if found.ended is not None:
            return report_end(found.ended, workload, self._at_least_seconds(name))
        if found.withdrawn_at is not None:
            return report_withdrawn(found)
        raise EngineUnavailable("the cluster's shared file system does not show what was written to it")

    def cancel(self, placement: Placement, now: float) -> None:
        """Take an attempt that no node has; have the script of one that runs end it. Idempotent.

        Raises:
            EngineUnavailable: the request may not have arrived.
        """
        self._cluster.cancel(self._name(placement))

    def logs(self, placement: Placement, offset: int, limit: int) -> LogChunk:
        """Up to `limit` bytes of the output from byte `offset` on, exactly as the program wrote them.

        Raises:
            EngineUnavailable: it cannot be read now.
        """
        output = self._cluster.output(self._name(placement), offset, limit)
        complete = output.is_final and offset + len(output.data) >= output.total
        return LogChunk(output.data, offset, output.total, complete=complete)

    def forget(self, placement: Placement) -> None:
        """Remove what is in the attempt's folder, but the output and the records by which it never runs again.

        Raises:
            EngineUnavailable: it is to be asked again.
        """
        name = self._name(placement)
        if self._queue.get().is_active(name):
            self._cluster.end_all(name)
        self._cluster.forget(name)
        with self._lock:
            self._watched.pop(name, None)

    def list_placements(self) -> Sequence[Found]:
        """Return every attempt that has a folder, or a job in the queue, under a name of this project.

        Raises:
            EngineUnavailable: it cannot be asked now.
        """
        listed = {each.name: each for each in self._cluster.list_attempts()}
        queue = self._queue.get(since_now=True)
        found = []
        for name in {**listed, **{name: None for name in queue.jobs if queue.is_active(name)}}:
            parts = parse_name(name)
            if parts is None:
                continue
            attempt = listed.get(name)
            is_running = any(job.standing is Standing.RUNNING for job in queue.of(name))
            if attempt is not None and attempt.is_claimed and not attempt.is_ended:
                is_running = True
            incarnation, created_at = ("", 0.0) if attempt is None else (attempt.incarnation, attempt.created_at)
            found.append(Found(parts[1], parts[2], parts[0], incarnation, created_at, is_running))
        return found

    def __repr__(self) -> str:
        return f"SlurmDriver({self._options.folder!r})"

    def _name(self, placement: Placement) -> str:
        return name_of(self._context.database_id, placement)

    def _batch_options(self, name: str, workload: Workload, folder: str) -> list[str]:
        """The options of `sbatch`. None of them is secret: every user of a cluster can see them."""
        gpu = self._options.gpu_names.get(workload.gpu, workload.gpu)
        minutes = -(-(workload.max_runtime_seconds + NET_SECONDS) // 60)
        return [
            "--parsable",
            "--no-requeue",
            f"--job-name={name}",
            *([] if self._options.partition is None else [f"--partition={self._options.partition}"]),
            "--nodes=1",
            "--ntasks=1",
            *([f"--gres=gpu:{gpu}:{workload.gpu_count}"] if workload.gpu_count else []),
            f"--time={minutes}",
            f"--chdir={folder}",
            "--open-mode=append",
            "--output=slurm.log",
        ]

    def _recorded(self, name: str) -> Records:
        """What is on record of an attempt, looked for together with all that were polled lately."""
        with self._lock:
            is_new = name not in self._watched
            self._watched.setdefault(name, Watched(0.0)).asked_at = self._clock()
        return self._records.get(since_now=is_new).get(name, Records())

    def _look(self) -> dict[str, Records]:
        now = self._clock()
        with self._lock:
            for name in [each for each, it in self._watched.items() if now - it.asked_at > LOOKED_FOR_SECONDS]:
                del self._watched[name]
            names = list(self._watched)
        found = self._cluster.look(names)
        now = self._clock()
        with self._lock:
            for name in names:
                if name in self._watched:
                    self._watched[name].look(found.get(name, Records()), now)
        return found

    def _ask(self) -> Queue:
        before = self._clock()
        queue = self._cluster.queue()
        after = self._clock()
        with self._lock:
            for name, watched in self._watched.items():
                if any(job.state == "RUNNING" for job in queue.jobs.get(name, ())):
                    watched.see_running(before, after)
        return queue

    def _silent_seconds(self, name: str, found: Records) -> tuple[float, Silence | None]:
        """For how long an attempt's script has not been heard of, and what of that is to be noted."""
        now = self._clock()
        with self._lock:
            watched = self._watched.setdefault(name, Watched(now))
            silent_seconds = watched.silent_seconds(found, now, self._lost_seconds)
            return silent_seconds, watched.worth_noting(silent_seconds, self._lost_seconds)

    def _end_silent(self, name: str) -> None:
        """Have a living controller end what it still has of an attempt whose script should have ended it by now."""
        with contextlib.suppress(EngineUnavailable):
            if self._queue.get().is_active(name):
                self._cluster.end_all(name)

    def _settle(self, name: str, found: Records) -> Records:
        """Give up an attempt whose script was not heard of for too long: it has ended its program itself, or is dead.

        What Slurm says of it is only asked for the reason: the script's own rule holds without Slurm.
        """
        reason = "lost"
        try:
            queued = self._queue.get(since_now=True).of(name)
            if any(job.state == _OUT_OF_MEMORY for job in queued):
                reason = "out_of_memory"
            elif any(job.state == _TIMEOUT for job in queued):
                reason = "time_limit"
        except EngineUnavailable:
            _logger.info("attempt %s is given up; the cluster's controller did not answer", name)
        self._cluster.give_up(name, reason, found.started_at or 0.0, found.lived_seconds)
        return self._records.get(since_now=True).get(name, found)

    def _reference(self, name: str) -> str | None:
        queue = self._queue.peek()
        queued = queue.of(name) if queue is not None else ()
        return queued[0].slurm_id if queued and queued[0].standing is Standing.RUNNING else None

    def _at_least_seconds(self, name: str) -> float:
        """How long Slurm had the attempt running, less what its script may take after the program's end."""
        with self._lock:
            watched = self._watched.get(name)
            return 0.0 if watched is None else watched.at_least_seconds(_SLACK_SECONDS)


def make_slurm_driver(options: SlurmOptions, context: SubmittingDatabase) -> SlurmDriver:
    """Make the driver of a supplier.

    Args:
        options: its section of the suppliers file.
        context: whose jobs it runs.

    Raises:
        ValueError: `folder` is not an absolute path, or the database's id cannot be part of a name.
    """
    if not options.folder.startswith("/") or "\n" in options.folder:
        raise ValueError(f"`folder` must be an absolute path on the cluster, not {options.folder!r}")
    name_of(context.database_id, Placement("job", 1, "", "", 0.0))
    return SlurmDriver(options, context)
