"""What an engine remembers is asked by its own clock, whatever this machine's says."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from typing import Any

import pytest

from nodus_control.suppliers.docker.containers import Containers
from nodus_control.suppliers.docker.engine import LOOK_SECONDS, Answer, Engine
from nodus_control.suppliers.docker.names import ATTEMPT, DATABASE, JOB
from nodus_control.suppliers.docker.state import Witness
from nodus_control.suppliers.docker.streams import LATE
from nodus_control.suppliers.protocol import EngineUnavailable, Placement
from nodus_core.suppliers_file import DockerOptions, UnixEndpoint

PLACEMENT = Placement("job", 1, "lab", "here", 0.0)
ENDED_AGO = 0.2


class FakeEngine(Engine):
    """Answers as Docker does, whose clock is so many seconds ahead.

    Docker leaves out the events that are later than `until`, and holds its answer open until then.
    """

    def __init__(self, ahead: float, *, tells_time: bool = True) -> None:
        super().__init__(DockerOptions(UnixEndpoint("/none")))
        self.now = time.time() + ahead
        self.tells_time = tells_time
        self.events = [("c", self.now - ENDED_AGO)]

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
        seconds: float = LOOK_SECONDS,
    ) -> Answer:
        at = math.floor(self.now) if self.tells_time else None
        if path == "/events":
            assert params is not None
            until = float(params["until"])
            if until - self.now > seconds:
                raise EngineUnavailable(LATE)
            lines = [
                json.dumps({"Type": "container", "Action": "die", "Actor": {"ID": id_}})
                for id_, happened_at in self.events
                if happened_at <= until
            ]
            return Answer(200, "\n".join(lines).encode(), at)
        return Answer(200, json.dumps(self._described()).encode(), at)

    def _described(self) -> dict[str, Any]:
        return {
            "Id": "c",
            "Name": "/nodus-db-job-1-go",
            "Created": "2023-11-14T22:13:20Z",
            "State": {
                "Status": "exited",
                "StartedAt": "2023-11-14T22:13:21Z",
                "FinishedAt": "2023-11-14T22:13:30Z",
                "ExitCode": 137,
            },
            "Config": {"Labels": {DATABASE: "db", JOB: "job", ATTEMPT: "1"}},
            "HostConfig": {},
        }


def containers_of(engine: Engine) -> Containers:
    return Containers(engine, database_id="db", incarnation="1", supplier="lab", gpu_indices=None)


@pytest.mark.parametrize("ahead", [-3600.0, -5.0, 0.0, 5.0, 3600.0])
@pytest.mark.parametrize("happened", [True, False])
def test_an_end_is_remembered_whatever_the_clocks_say(ahead: float, happened: bool) -> None:
    """A program that was ended by a signal is not run again because the engine's clock is ahead, nor asked for ever."""
    engine = FakeEngine(ahead)
    if not happened:
        engine.events = [("other", engine.now - ENDED_AGO)]
    containers = containers_of(engine)
    container, at = containers.find(PLACEMENT)
    assert container is not None

    assert containers.witness(container, at) is (Witness.SAW_IT if happened else Witness.SAW_NOTHING)


def test_an_engine_that_tells_no_time_is_not_taken_at_its_word() -> None:
    """How long a program has run, and what the engine may remember of its end, are reckoned by that time."""
    with pytest.raises(EngineUnavailable, match="Date"):
        containers_of(FakeEngine(0.0, tells_time=False)).find(PLACEMENT)
