"""Finds, lists and removes the containers and networks of attempts. What it is handed is compared with whose it is."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from ..protocol import EngineUnavailable, Placement
from .engine import CHANGE_SECONDS, LOOK_SECONDS, Engine
from .names import ATTEMPT, DATABASE, JOB, ContainerOwner, labels_of, names_of, owner_of
from .state import OVER, Container, Witness, read_container

_EVENTS = 256
_CLOCK_STEP_SECONDS = 1.0
"""Of the times in an engine's answers: its clock may be so much further."""


class Containers:
    """The containers of one supplier on an engine.

    Args:
        engine: the engine.
        database_id: which control plane this is.
        incarnation: of its database.
        supplier: the name.
        gpu_indices: the engine's GPUs that it keeps to; None where it takes any.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        database_id: str,
        incarnation: str,
        supplier: str,
        gpu_indices: tuple[int, ...] | None,
    ) -> None:
        self._engine = engine
        self._database_id = database_id
        self._incarnation = incarnation
        self._supplier = supplier
        self._gpu_indices = gpu_indices

    def labels(self, placement: Placement) -> dict[str, str]:
        """Return what a container, or a network, of an attempt is labelled with."""
        return labels_of(
            ContainerOwner(
                self._database_id,
                self._incarnation,
                placement.job_id,
                placement.attempt,
                self._supplier,
                self._gpu_indices,
            )
        )

    def find(
        self, placement: Placement, container_id: str | None = None, *, seconds: float = LOOK_SECONDS
    ) -> tuple[Container | None, float]:
        """Return the container of an attempt, claimed or not, and the engine's time.

        Args:
            placement: the attempt.
            container_id: that of the container, where it is known: it may be renamed while it is looked for.
            seconds: how long the engine may take.

        Raises:
            EngineUnavailable: it cannot be asked now.
        """
        names = names_of(self._database_id, placement)
        for name in (names.claimed, names.made) if container_id is None else (container_id,):
            answer = self._engine.ask("GET", f"/containers/{name}/json", seconds=seconds)
            if answer.status == 404:
                continue
            try:
                container = read_container(answer.require(200).document())
            except ValueError as exc:
                raise EngineUnavailable("the supplier's engine describes a container in a way that is unknown") from exc
            if self._is_of(placement, container.labels):
                if answer.at is None:
                    raise EngineUnavailable(
                        "the supplier's engine does not say what time it is, as the header Date does"
                    )
                return container, answer.at
        return None, 0.0

    def witness(self, container: Container, at: float) -> Witness:
        """Return what Docker remembers of the end of a container.

        Args:
            container: one that has ended.
            at: the engine's time when it said so, rounded down to a second.

        Raises:
            EngineUnavailable: it cannot be asked now.
        """
        return self._witness("die", container, at)

    def witness_of_making(self, container: Container, at: float) -> Witness:
        """Return what Docker remembers of having made a container: it has not been restarted since if it does.

        Args:
            container: one that was there when the engine was asked, and may have been removed since.
            at: the engine's time when it was there, rounded down to a second.

        Raises:
            EngineUnavailable: it cannot be asked now.
        """
        return self._witness("create", container, at)

    def _witness(self, action: str, container: Container, at: float) -> Witness:
        """Look for what happened to a container in Docker's memory: its last 256 events since it was started itself.

        It leaves out what is later than it is asked about, and answers when that time has come, both by its own clock.
        """
        params = {"since": "0", "until": str(at + _CLOCK_STEP_SECONDS)}
        answer = self._engine.ask("GET", "/events", params=params).require(200)
        count = 0
        for line in answer.content.splitlines():
            try:
                event = json.loads(line)
                count += 1
                if (event["Type"], event["Action"], event["Actor"]["ID"]) == ("container", action, container.id):
                    return Witness.SAW_IT
            except (ValueError, KeyError, TypeError) as exc:
                raise EngineUnavailable("the supplier's engine describes an event in a way that is unknown") from exc
        return Witness.FORGOT if count >= _EVENTS else Witness.SAW_NOTHING

    def all(self, **labels: str) -> list[dict[str, Any]]:
        """Return the descriptions of all containers of this project with these labels, running or not.

        Raises:
            EngineUnavailable: it cannot be asked now.
        """
        filters = json.dumps({"label": [JOB, *(f"{name}={value}" for name, value in labels.items())]})
        params = {"all": "true", "filters": filters}
        found: list[dict[str, Any]] = (
            self._engine.ask("GET", "/containers/json", params=params, seconds=CHANGE_SECONDS).require(200).document()
        )
        return [each for each in found if owner_of(each.get("Labels") or {}) is not None]

    def networks(self) -> list[dict[str, Any]]:
        """Return the descriptions of all networks of this project, also of those that no container uses.

        Raises:
            EngineUnavailable: it cannot be asked now.
        """
        filters = json.dumps({"label": [JOB]})
        answer = self._engine.ask("GET", "/networks", params={"filters": filters}, seconds=CHANGE_SECONDS).require(200)
        return list(answer.document())

    def foreign(self) -> list[ContainerOwner]:
        """Return whose containers are there that are another control plane's, and run or may yet run.

        Raises:
            EngineUnavailable: it cannot be asked now.
        """
        owners = [owner_of(each.get("Labels") or {}) for each in self.all() if each.get("State") not in OVER]
        return [owner for owner in owners if owner is not None and owner.database_id != self._database_id]

    def remove(self, container_id: str) -> bool:
        """Remove a container that does not run, with its volumes. Return whether it is gone: False where it runs.

        Raises:
            EngineUnavailable: nothing is known of that.
        """
        answer = self._engine.ask("DELETE", f"/containers/{container_id}", params={"v": "true"}, seconds=CHANGE_SECONDS)
        if answer.status in (204, 200, 404):
            return True
        if answer.status in (409, 500):
            # Docker and Podman say so of one that runs, and of one that somebody else is removing.
            return self._engine.ask("GET", f"/containers/{container_id}/json").require(200, 404).status == 404
        answer.require(204)
        return False

    def remove_all(self, placement: Placement) -> None:
        """Remove every container of an attempt, and its network.

        Raises:
            EngineUnavailable: nothing is known of that, or one still runs.
        """
        for document in self.all(**{JOB: placement.job_id}):
            if self._is_of(placement, document["Labels"]) and not self.remove(document["Id"]):
                raise EngineUnavailable("the container still runs, so it is not removed")
        if not self.remove_networks(placement):
            raise EngineUnavailable("the engine does not remove the job's network: see there what is connected to it")

    def make_network(self, placement: Placement) -> str:
        """Make a network for an attempt, and return its id.

        Its name is no other's: an engine may make two networks of one name, and then start no container on either.

        Raises:
            EngineUnavailable: nothing is known of that.
        """
        name = f"{names_of(self._database_id, placement).made}-{secrets.token_hex(4)}"
        body = {"Name": name, "CheckDuplicate": True, "Driver": "bridge", "Labels": self.labels(placement)}
        made = self._engine.ask("POST", "/networks/create", body=body, seconds=CHANGE_SECONDS).require(201)
        return str(made.document()["Id"])

    def remove_network(self, network_id: str) -> bool:
        """Remove a network. Return whether it is gone: False where a container uses it.

        Raises:
            EngineUnavailable: nothing is known of that.
        """
        answer = self._engine.ask("DELETE", f"/networks/{network_id}", seconds=CHANGE_SECONDS)
        return answer.status in (200, 204, 404)

    def remove_networks(self, placement: Placement) -> bool:
        """Remove all networks of an attempt, without which its container cannot start. Return whether they are gone.

        Raises:
            EngineUnavailable: it cannot be asked now.
        """
        gone = True
        for network in self._networks(placement):
            gone = self.remove_network(network["Id"]) and gone
        return gone

    def _networks(self, placement: Placement) -> list[dict[str, Any]]:
        filters = json.dumps({"label": [f"{JOB}={placement.job_id}"]})
        answer = self._engine.ask("GET", "/networks", params={"filters": filters}, seconds=CHANGE_SECONDS).require(200)
        return [each for each in answer.document() if self._is_of(placement, each.get("Labels") or {})]

    def _is_of(self, placement: Placement, labels: Mapping[str, str]) -> bool:
        owner = self._database_id, placement.job_id, str(placement.attempt)
        return (labels.get(DATABASE), labels.get(JOB), labels.get(ATTEMPT)) == owner
