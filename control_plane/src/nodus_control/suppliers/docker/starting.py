"""Starts an attempt's program at most once, whoever else tries to, and however long each of them stands still.

An engine has no idempotent submission: a second `start` of a container that has ended runs its program again. So there
are three guards, one after the other. A container is made under the attempt's name, of which an engine has one. Whoever
renames it claims it, which Docker grants once (Podman does so again for the same container). Whoever then records the
container's id in the attempt's folder, which nobody can do twice, may start it, by that id; all others remove what they
made. What stands in that folder stays when the container is gone.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping

from nodus_core.suppliers_file import DockerOptions

from ..protocol import EngineUnavailable, Placement, PlacementState, Report, Workload
from .attempts import Attempt
from .container import create_document, gpus_of, needs_network
from .containers import Containers
from .engine import CHANGE_SECONDS, START_SECONDS, Answer, Engine
from .images import Images
from .names import names_of
from .references import Reference
from .state import Container, Stage, lacks_gpus, report_refused, report_start_unknown, was_cut_off

GPU_NOT_ATTACHED = "gpu_not_attached"
GPU_MISSING = "the supplier's engine did not attach the GPUs that the job asked for, so it was not run"

_NAME_TAKEN = "already in use"

_logger = logging.getLogger(__name__)


class Starter:
    """Starts programs on one engine.

    Args:
        engine: the engine.
        containers: its containers.
        images: its images.
        options: what the operator decided.
        gpus: how many GPUs of each model there are, in the order of the operator's file.
        database_id: which control plane this is.
        log_driver: asks the engine which one it keeps output with.
    """

    def __init__(
        self,
        engine: Engine,
        containers: Containers,
        images: Images,
        options: DockerOptions,
        gpus: Mapping[str, int],
        *,
        database_id: str,
        log_driver: Callable[[], str],
    ) -> None:
        self._engine = engine
        self._containers = containers
        self._images = images
        self._options = options
        self._gpus = gpus
        self._database_id = database_id
        self._log_driver = log_driver

    def begin(
        self,
        placement: Placement,
        workload: Workload,
        attempt: Attempt,
        image: Reference,
        holds: Callable[[], bool],
    ) -> None:
        """Start the program, or begin to fetch its image; do nothing if somebody has claimed it.

        Raises:
            EngineUnavailable: nothing is known; with `never_sent`, nothing was begun.
        """
        if attempt.claimed_by() is not None or attempt.is_withdrawn():
            return
        with nothing_begun():
            container, _ = self._containers.find(placement, seconds=CHANGE_SECONDS)
            if container is None and not self._images.is_there(image, seconds=CHANGE_SECONDS):
                self._images.pull(image, names_of(self._database_id, placement).made)
                return
            log_driver = self._log_driver()
        try:
            if container is not None:
                self._start(placement, workload, attempt, container, holds)
            elif needs_network(self._options):
                network = self._containers.make_network(placement)
                made_id = self._make_and_start(placement, workload, attempt, image, holds, log_driver, network)
                if made_id is None or self._containers.find(placement, made_id, seconds=CHANGE_SECONDS)[0] is None:
                    # No container uses it: somebody else made one, or it has been removed.
                    self._containers.remove_network(network)
            else:
                network = self._options.network
                self._make_and_start(placement, workload, attempt, image, holds, log_driver, network)
        except EngineUnavailable as exc:
            # Whatever this was, something was sent before.
            raise EngineUnavailable(exc.detail) from exc

    def _make_and_start(
        self,
        placement: Placement,
        workload: Workload,
        attempt: Attempt,
        image: Reference,
        holds: Callable[[], bool],
        log_driver: str,
        network: str,
    ) -> str | None:
        """Make the container, or find the one that somebody else has made, and start it. Return the id of what it made.

        It is None where nothing was made.
        """
        names = names_of(self._database_id, placement)
        gpus = gpus_of(placement, workload, self._options, self._gpus)
        document = create_document(
            placement,
            workload,
            self._options,
            image=str(image),
            labels=self._containers.labels(placement),
            gpus=gpus,
            network=network,
            log_driver=log_driver,
        )
        made = self._engine.ask(
            "POST", "/containers/create", params={"name": names.made}, body=document, seconds=CHANGE_SECONDS
        )
        if made.status == 400 and attempt.withdraw():
            _logger.warning("job %s, attempt %d: %s", placement.job_id, placement.attempt, made.message)
            message = "the supplier's engine does not accept a container with this image, command or environment"
            attempt.end(Report(PlacementState.FAILED, error_code="cannot_run", error_message=message))
            return None
        if made.status == 500 and any(isinstance(gpu, str) and gpu in made.message for gpu in gpus):
            # Podman looks for devices now, and Docker at the start.
            if attempt.withdraw():
                attempt.end(report_refused(None, GPU_NOT_ATTACHED, GPU_MISSING))
            return None
        # What this call made, not what somebody else claimed meanwhile: the loser removes it.
        made_id = str(made.document()["Id"]) if made.status == 201 else None
        container, _ = self._containers.find(placement, made_id, seconds=CHANGE_SECONDS)
        if container is not None:
            self._start(placement, workload, attempt, container, holds)
        elif made.status != 409 and _NAME_TAKEN not in made.message:
            made.require(201)
        # Where somebody else is making it just now, the next poll finds it.
        return made_id

    def _start(
        self,
        placement: Placement,
        workload: Workload,
        attempt: Attempt,
        container: Container,
        holds: Callable[[], bool],
    ) -> None:
        names = names_of(self._database_id, placement)
        if container.stage is not Stage.CREATED or container.name == names.claimed:
            return  # Whoever renamed it starts it, or is found not to have done so.
        if lacks_gpus(container, gpus_of(placement, workload, self._options, self._gpus)):
            if attempt.withdraw():
                attempt.end(report_refused(container, GPU_NOT_ATTACHED, GPU_MISSING))
            self._containers.remove(container.id)
            return
        renamed = self._engine.ask(
            "POST", f"/containers/{container.id}/rename", params={"name": names.claimed}, seconds=CHANGE_SECONDS
        )
        if renamed.status != 204:
            self._lose(placement, container)
            return
        if not holds():
            self._containers.remove(container.id)
            return
        if not attempt.claim(container.id):
            if attempt.claimed_by() != container.id:
                self._containers.remove(container.id)
            return
        started = self._engine.ask("POST", f"/containers/{container.id}/start", seconds=START_SECONDS)
        if started.status not in (204, 304):
            self._refuse(placement, attempt, container, started)

    def _lose(self, placement: Placement, container: Container) -> None:
        """Somebody else has claimed the attempt: leave it alone, and remove a container that is another one."""
        claimed, _ = self._containers.find(placement, seconds=CHANGE_SECONDS)
        if claimed is not None and claimed.id != container.id:
            self._containers.remove(container.id)

    def _refuse(self, placement: Placement, attempt: Attempt, container: Container, answer: Answer) -> None:
        """Record that the engine could not start it, where that is so: nobody else may, and it is not tried again."""
        found, _ = self._containers.find(placement, container.id, seconds=CHANGE_SECONDS)
        if found is not None and found.started_at is not None:
            return
        _logger.warning("job %s, attempt %d: %s", placement.job_id, placement.attempt, answer.message)
        if found is not None and self._containers.remove(found.id):
            attempt.end(refusal(found, answer.message))


@contextlib.contextmanager
def nothing_begun() -> Iterator[None]:
    """Say of an engine that does not answer what is only a question that nothing was begun by it."""
    try:
        yield
    except EngineUnavailable as exc:
        raise EngineUnavailable(exc.detail, never_sent=True) from exc


def refusal(container: Container, said: str) -> Report:
    """Say that a container could not be started; what the engine said names things of its host, so it is not quoted."""
    if was_cut_off(said):
        return report_start_unknown(container)
    if "could not select device driver" in said or "nvidia" in said or "device information" in said:
        return report_refused(container, GPU_NOT_ATTACHED, GPU_MISSING)
    return report_refused(container, None)
