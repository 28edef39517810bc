"""The `docker` driver: runs each attempt in a container of Docker Engine, or of Podman's service, at most once.

How that is held is said in `starting.py`. Bills are from the engine's own times. The end of a program is reported when
its output has been copied whole.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nodus_core.suppliers_file import DockerOptions, Reference, UnixEndpoint

from ..protocol import (
    CapacityRefused,
    Found,
    LogChunk,
    Placement,
    PlacementState,
    Report,
    Workload,
    always,
)
from .acceptable import require_acceptable
from .attempts import Attempt
from .background import Background
from .container import gpus_of
from .containers import Containers
from .engine import CHANGE_SECONDS, START_SECONDS, Engine
from .followers import Followers
from .images import Images
from .limits import LIMITS, Limits, within
from .listing import Listing
from .names import may_share, names_of, owner_of
from .options import resolve
from .references import FINAL, WHAT_IS_WRONG
from .references import Reference as ImageReference
from .starting import GPU_MISSING, GPU_NOT_ATTACHED, Starter, nothing_begun, refusal
from .state import (
    CANCELLED,
    MAX_RUNTIME,
    Container,
    Stage,
    Witness,
    lacks_gpus,
    may_run,
    needs_witness,
    read_time,
    report_created,
    report_end,
    report_withdrawn,
)
from .troubles import Troubles

GRACE_SECONDS = 5
CLAIM_SECONDS = 60.0
"""How long a container is left to whoever claimed it before its program is seen to have started, and none ever will.

From when the claim was first seen here, by the engine's clock: longer than any worker holds an attempt without showing
that it lives.
"""

OUTPUT_SECONDS = 900.0
"""How long a job is held for an output that its engine does not give, from when its end was first seen here."""

BEGIN = "begin"
STOP = "stop"
PULLING = "pulling"
STARTING = "starting"
SHORTEST_POLL_SECONDS = 0.05
LONGEST_POLL_SECONDS = 1.0
STARTING_POLL_SECONDS = 0.2
LEAST_FREE_IN_STORE = 0.05

_ENGINE_VOLUME = "nodus-engine"
_ENGINE_LABEL = "nodus.engine"
_PODMAN = "Podman Engine"
_REMOVED = "the job's container was removed from the supplier's engine; how the program ended is not known"

_logger = logging.getLogger(__name__)


class DockerDriver:
    """Runs placements of one supplier on one engine.

    Args:
        options: what the operator decided.
        supplier: its name.
        gpus: how many GPUs of each model it has, in the order of the operator's file.
        database_id: which control plane this is; another's containers are never touched.
        incarnation: of its database.
        directory: where outputs and records of attempts are kept; the same for all its processes.
        resolved: returns the secret that a reference stands for.
        limits: how long each call may wait for the engine.

    Raises:
        RuntimeError: a secret is not there, or is no certificate.
    """

    def __init__(
        self,
        options: DockerOptions,
        *,
        supplier: str,
        gpus: Mapping[str, int],
        database_id: str,
        incarnation: str,
        directory: Path,
        resolved: Callable[[Reference], str] = resolve,
        limits: Limits = LIMITS,
    ) -> None:
        self.limits = limits
        self._options = options
        self._supplier = supplier
        self._gpus = dict(gpus)
        self._database_id = database_id
        self._directory = directory
        self.engine = Engine(options, resolved)
        self._troubles = Troubles(supplier)
        self._images = Images(self.engine, self._troubles, options.registry_auth, resolved)
        self._followers = Followers(self.engine, self._troubles, lambda: not self.is_podman())
        self._containers = Containers(
            self.engine,
            database_id=database_id,
            incarnation=incarnation,
            supplier=supplier,
            gpu_indices=options.gpu_indices,
        )
        self._listing = Listing(self.engine, database_id=database_id, supplier=supplier)
        self._starter = Starter(
            self.engine,
            self._containers,
            self._images,
            options,
            self._gpus,
            database_id=database_id,
            log_driver=lambda: "k8s-file" if self.is_podman() else "local",
        )
        self._background = Background(self._troubles)
        self._end_seen_at: dict[Path, float] = {}
        self._claim_seen_at: dict[Path, float] = {}
        self._is_podman: bool | None = None
        self._engine_folder: str | None = None

    @property
    def name(self) -> str:
        """`docker`."""
        return "docker"

    @property
    def runs_commands(self) -> bool:
        """Yes."""
        return True

    @within(lambda limits: limits.change_seconds)
    def identity(self) -> str | None:
        """Return the engine's own id, or what stands for it on an engine that gives itself another at each question.

        Raises:
            EngineUnavailable: it cannot be asked now.
        """
        if not self.is_podman():
            return str(self.info().get("ID") or "") or None
        # Of all who make this volume the first one decides what its label says.
        body = {"Name": _ENGINE_VOLUME, "Labels": {_ENGINE_LABEL: secrets.token_hex(16)}}
        made = self.engine.ask("POST", "/volumes/create", body=body, seconds=CHANGE_SECONDS).require(200, 201)
        return str(made.document()["Labels"][_ENGINE_LABEL])

    def info(self) -> dict[str, Any]:
        """Return what the engine says of itself.

        Raises:
            EngineUnavailable: it cannot be asked now.
        """
        found: dict[str, Any] = self.engine.ask("GET", "/info", seconds=CHANGE_SECONDS).require(200).document()
        self._engine_folder = str(found["DockerRootDir"]) if "DockerRootDir" in found else None
        return found

    def is_podman(self) -> bool:
        """Say whether it is Podman's service.

        Raises:
            EngineUnavailable: it cannot be asked now.
        """
        if self._is_podman is None:
            version = self.engine.ask("GET", "/version", seconds=CHANGE_SECONDS).require(200).document()
            self._is_podman = any(each.get("Name") == _PODMAN for each in version.get("Components") or ())
        return self._is_podman

    @within(lambda limits: limits.submit_seconds)
    def submit(self, placement: Placement, workload: Workload, now: float, holds: Callable[[], bool] = always) -> None:
        """Start the program, or begin to fetch its image. Do nothing if this attempt was started, or withdrawn, before.

        Raises:
            EngineUnavailable: nothing is known; with `never_sent`, nothing was begun.
            CapacityRefused: the disk is too full, or the engine is another control plane's too.
            SubmissionRefused: `invalid_command`, or `cannot_run` for an image or GPUs that are not to be had here.
        """
        image = require_acceptable(workload, self._options)
        gpus_of(placement, workload, self._options, self._gpus)
        attempt = self._attempt(placement)
        if attempt.claimed_by() is not None or attempt.is_withdrawn():
            return
        with nothing_begun():
            self._require_room()
        self._starter.begin(placement, workload, attempt, image, holds)

    @within(lambda limits: limits.poll_seconds)
    def poll(self, placement: Placement, workload: Workload, now: float) -> Report:
        """Report the state of the attempt.

        Raises:
            EngineUnavailable: it cannot be asked now: the placement is where it was.
        """
        attempt = self._attempt(placement)
        ended = attempt.ended()
        if ended is not None:
            self._no_longer_watched(attempt)
            return ended
        if attempt.is_withdrawn():
            return self._report_withdrawn(attempt, now)
        listed = self._listing.still_running(placement)
        if listed is not None:
            self._followers.ensure(listed[0].id, attempt.output)
            return self._report_running(placement, workload, attempt, *listed, now)
        container, at = self._containers.find(placement)
        claimed_by = attempt.claimed_by()
        if container is None and claimed_by is not None:
            # It may have been renamed between two questions, but it has been there.
            container, at = self._containers.find(placement, claimed_by)
        if container is None:
            return self._report_absent(placement, workload, attempt, now)
        if container.stage is Stage.CREATED:
            return self._report_created(placement, workload, attempt, container, at, now)
        self._claim_seen_at.pop(attempt.folder, None)
        # Whoever started it, and wherever that was recorded: it is not started again.
        attempt.claim(container.id)
        if container.stage is Stage.REFUSED:
            _logger.warning("job %s, attempt %d: %s", placement.job_id, placement.attempt, container.error)
            return attempt.end(refusal(container, container.error))
        if container.stage is not Stage.RUNNING and attempt.folder not in self._end_seen_at:
            self._followers.has_ended(container.id)
        self._followers.ensure(container.id, attempt.output)
        if container.stage is Stage.RUNNING:
            self._listing.note(placement, container)
            return self._report_running(placement, workload, attempt, container, at, now)
        # It may have ended while no worker was there to copy anything.
        waited = at - max(container.finished_at or at, self._end_seen_at.setdefault(attempt.folder, at))
        if not attempt.output.is_complete() and waited < OUTPUT_SECONDS:
            return _running(container, now + SHORTEST_POLL_SECONDS)
        self._end_seen_at.pop(attempt.folder, None)
        if not attempt.output.is_complete():
            _logger.error("supplier %s: an output is cut: %s", self._supplier, attempt.folder)
            attempt.cut_output()
        if lacks_gpus(container, gpus_of(placement, workload, self._options, self._gpus)):
            return attempt.end(_without_gpus(container))
        reason, witness = attempt.ending(), Witness.SAW_IT
        if needs_witness(container, reason) and not self.is_podman():
            witness = self._containers.witness(container, at)
        has_output = attempt.output.size > 0
        return attempt.end(report_end(container, workload, reason, has_output=has_output, witness=witness))

    @within(lambda limits: limits.change_seconds)
    def cancel(self, placement: Placement, now: float) -> None:
        """Request the end: what has not been started never will be, and a program gets SIGTERM, then SIGKILL.

        Raises:
            EngineUnavailable: the request may not have arrived; it is made again.
        """
        attempt = self._attempt(placement)
        if attempt.ended() is not None or attempt.is_withdrawn():
            return
        container, _ = self._containers.find(placement)
        if container is not None and container.stage in (Stage.ENDED, Stage.RESET):
            return
        attempt.request_end(CANCELLED)
        if container is not None and container.stage is Stage.RUNNING:
            attempt.claim(container.id)
            self._stop(container)
        elif attempt.withdraw() and container is not None:
            self._containers.remove(container.id)

    def logs(self, placement: Placement, offset: int, limit: int) -> LogChunk:
        """Up to `limit` bytes of the output from byte `offset` on, exactly as the program wrote them."""
        attempt = self._attempt(placement)
        # Asked first: what is stored between the two questions must not be missed.
        is_complete = attempt.output.is_complete() or attempt.ended() is not None or attempt.is_withdrawn()
        data, total = attempt.read_output(offset, limit)
        return LogChunk(data, offset, total, complete=is_complete and offset + len(data) >= total)

    @within(lambda limits: limits.tidy_seconds)
    def forget(self, placement: Placement) -> None:
        """Remove the attempt's containers and its network. One that was not started never will be.

        Raises:
            EngineUnavailable: it is to be asked again, for example because the program still runs.
        """
        attempt = self._attempt(placement)
        attempt.withdraw()
        self._containers.remove_all(placement)
        claimed_by = attempt.claimed_by()
        if claimed_by is not None:
            self._followers.forget(claimed_by)
        self._no_longer_watched(attempt)

    @within(lambda limits: limits.tidy_seconds)
    def list_placements(self) -> Sequence[Found]:
        """Return all attempts of which the engine has a container, or a network without one, whoever's they are.

        Raises:
            EngineUnavailable: it cannot be asked now.
        """
        # In this order: a network is made first, and goes last. Whoever dies in between leaves nothing else.
        networks = [(each, read_time(each["Created"]) or 0.0, False) for each in self._containers.networks()]
        containers = [(each, float(each["Created"]), may_run(each["State"])) for each in self._containers.all()]
        found: dict[tuple[str, str, str, int], Found] = {}
        for document, created_at, is_running in [*networks, *containers]:
            owner = owner_of(document.get("Labels") or {})
            if owner is not None:
                it = Found(owner.job_id, owner.attempt, owner.database_id, owner.incarnation, created_at, is_running)
                whose = owner.database_id, owner.incarnation, owner.job_id, owner.attempt
                if whose not in found or not found[whose].is_running:
                    found[whose] = it
        return list(found.values())

    def close(self) -> None:
        """Stop copying outputs and fetching images; programs run on."""
        self._background.stop()
        self._followers.stop()
        self.engine.close()
        self._followers.close()
        self._images.close()
        self._background.close()

    def __repr__(self) -> str:
        return f"DockerDriver({self._supplier!r})"

    def _attempt(self, placement: Placement) -> Attempt:
        names_of(self._database_id, placement)  # what can be part of a name can be a folder's
        return Attempt(self._directory / placement.job_id / str(placement.attempt))

    def _no_longer_watched(self, attempt: Attempt) -> None:
        for seen_at in (self._end_seen_at, self._claim_seen_at):
            seen_at.pop(attempt.folder, None)

    def _require_room(self) -> None:
        """Check what would make every container here fail, before one is made."""
        self._directory.mkdir(0o700, parents=True, exist_ok=True)
        store = shutil.disk_usage(self._directory)
        if store.free < LEAST_FREE_IN_STORE * store.total:
            raise CapacityRefused("the disk on which outputs are kept is almost full")
        if any(not may_share(self._options.gpu_indices, owner.gpu_indices) for owner in self._containers.foreign()):
            raise CapacityRefused("the supplier's engine runs containers of another control plane")
        if isinstance(self._options.endpoint, UnixEndpoint):
            # Of an engine on another host nothing says how full its disk is.
            if self._engine_folder is None:
                self.info()  # It takes long. It is asked again with who it is, where that is in doubt.
            with contextlib.suppress(OSError):
                folder = self._engine_folder
                if folder is not None and shutil.disk_usage(folder).free < self._options.min_free_disk_bytes:
                    raise CapacityRefused("the disk of the supplier's engine is almost full")

    def _report_withdrawn(self, attempt: Attempt, now: float) -> Report:
        if attempt.ending() == CANCELLED:
            return attempt.end(Report(PlacementState.CANCELLED, finished_at=now))
        return attempt.end(report_withdrawn())

    def _report_absent(self, placement: Placement, workload: Workload, attempt: Attempt, now: float) -> Report:
        """There is no container: not yet, not any more, or never."""
        if placement.started_at is not None or attempt.claimed_by() is not None:
            attempt.withdraw()
            # When it ended is not known either.
            lost = Report(PlacementState.LOST, placement.started_at, None, "container_removed", _REMOVED)
            return attempt.end(lost)
        if not placement.is_accepted:
            return self._report_withdrawn(attempt, now) if attempt.withdraw() else _starting(now)
        image = require_acceptable(workload, self._options)
        if self._images.is_there(image):
            return self._begin_later(placement, workload, attempt, image, now)
        pull = self._images.pull(image, names_of(self._database_id, placement).made)
        if pull.code in FINAL and attempt.withdraw():
            failed = Report(
                PlacementState.FAILED, finished_at=now, error_code=pull.code, error_message=WHAT_IS_WRONG[pull.code]
            )
            return attempt.end(failed)
        return Report(
            PlacementState.PROVISIONING,
            next_poll_at=now + LONGEST_POLL_SECONDS,
            phase=PULLING,
            phase_detail=pull.detail if pull.code is None else WHAT_IS_WRONG[pull.code],
            progress_at=now - max(0.0, self._images.seconds_since_progress(pull)),
        )

    def _report_created(
        self, placement: Placement, workload: Workload, attempt: Attempt, container: Container, at: float, now: float
    ) -> Report:
        """There is a container whose program has not been started yet."""
        claimed_by = attempt.claimed_by()
        if claimed_by is None and container.name == names_of(self._database_id, placement).made:
            if placement.is_accepted:
                return self._begin_later(placement, workload, attempt, require_acceptable(workload, self._options), now)
            if attempt.withdraw():
                self._containers.remove(container.id)
                return self._report_withdrawn(attempt, now)
            return _starting(now)
        seen_at = self._claim_seen_at.setdefault(attempt.folder, at)
        if at - max(container.created_at, seen_at) < CLAIM_SECONDS:
            return _starting(now)
        # Whoever claimed it is gone, or stands still. Without its network it cannot be started; without itself neither.
        if self._containers.remove_networks(placement) and self._containers.remove(container.id):
            if claimed_by == container.id:
                # Asked last: it may be restarted at any time before.
                is_podman = self.is_podman()
                witness = Witness.SAW_IT if is_podman else self._containers.witness_of_making(container, at)
                report = report_created(container, witness)
                if report.state is PlacementState.LOST:
                    _logger.error(
                        "job %s, attempt %d: container %s may have been started, which its engine does not know",
                        placement.job_id,
                        placement.attempt,
                        container.id,
                    )
                return attempt.end(report)
            if not placement.is_accepted and attempt.withdraw():
                return self._report_withdrawn(attempt, now)
        return _starting(now)

    def _report_running(
        self, placement: Placement, workload: Workload, attempt: Attempt, container: Container, at: float, now: float
    ) -> Report:
        if container.started_at is None:
            return _starting(now)
        ran = at - container.started_at
        left = workload.max_runtime_seconds - ran
        if lacks_gpus(container, gpus_of(placement, workload, self._options, self._gpus)):
            _logger.error("job %s, attempt %d: it runs without its GPUs", placement.job_id, placement.attempt)
            self._stop(container)
            return _starting(now)
        if left <= 0:
            attempt.request_end(MAX_RUNTIME)
        if attempt.ending() is not None:
            self._stop(container)
            return _running(container, now + SHORTEST_POLL_SECONDS)
        # The end of a short program is noticed soon, and a long one is not polled more often than it is worth.
        pause = min(max(ran / 10, SHORTEST_POLL_SECONDS), LONGEST_POLL_SECONDS, max(left, SHORTEST_POLL_SECONDS))
        return _running(container, now + pause)

    def _begin_later(
        self, placement: Placement, workload: Workload, attempt: Attempt, image: ImageReference, now: float
    ) -> Report:
        """Make and start the container, without letting whoever asks how it is going wait for that."""
        made = names_of(self._database_id, placement).made
        self._background.do(BEGIN, made, lambda: self._starter.begin(placement, workload, attempt, image, always))
        return _starting(now, self._troubles.of(BEGIN, made))

    def _stop(self, container: Container) -> None:
        """Let the engine send SIGTERM, and SIGKILL after the grace."""
        path, params = f"/containers/{container.id}/stop", {"t": str(GRACE_SECONDS)}

        def stop() -> None:
            self.engine.ask("POST", path, params=params, seconds=START_SECONDS).require(204, 304, 404)

        self._background.do(STOP, container.id[:12], stop)


def _starting(now: float, trouble: str | None = None) -> Report:
    next_poll_at = now + STARTING_POLL_SECONDS
    return Report(PlacementState.PROVISIONING, next_poll_at=next_poll_at, phase=STARTING, phase_detail=trouble)


def _running(container: Container, next_poll_at: float) -> Report:
    return Report(PlacementState.RUNNING, container.started_at, next_poll_at=next_poll_at, engine_ref=container.id)


def _without_gpus(container: Container) -> Report:
    """Say that a program was found to run without its GPUs: what it did is not billed."""
    return Report(
        PlacementState.FAILED,
        error_code=GPU_NOT_ATTACHED,
        error_message=GPU_MISSING,
        engine_ref=container.id,
    )
