"""A container that was claimed is left to whoever claimed it for a while, however long ago it was made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nodus_control.suppliers.docker.containers import Containers
from nodus_control.suppliers.docker.driver import CLAIM_SECONDS, DockerDriver
from nodus_control.suppliers.docker.names import names_of
from nodus_control.suppliers.docker.state import Container, Stage, Witness
from nodus_control.suppliers.protocol import Placement, PlacementState, Workload
from nodus_core.suppliers_file import NO_DEVICES, DockerOptions, UnixEndpoint

PLACEMENT = Placement("job", 1, "lab", "here", 0.0, is_accepted=True)
WORKLOAD = Workload("busybox", "h100", 0, 3600, None, {})
MADE_AT = 1_700_000_000.0
CLAIMED_AT = MADE_AT + 10 * CLAIM_SECONDS


class Made:
    """What the engine has of the attempt: a container that was claimed long after it was made."""

    def __init__(self) -> None:
        self.at = CLAIMED_AT
        self.removed: list[str] = []
        self.witness = Witness.SAW_IT
        self.container = Container(
            id="c",
            name=names_of("db", PLACEMENT).claimed,
            stage=Stage.CREATED,
            created_at=MADE_AT,
            started_at=None,
            finished_at=None,
            exit_code=0,
            ran_out_of_memory=False,
            error="",
            is_connected=True,
            gpus=frozenset(),
            labels={},
        )

    def find(self, *_: object, **__: object) -> tuple[Container, float]:
        return self.container, self.at

    def remove(self, *_: object) -> bool:
        self.removed.append("container")
        return True

    def witness_of_making(self, *_: object) -> Witness:
        assert self.removed == ["networks", "container"]
        return self.witness

    def remove_networks(self, *_: object) -> bool:
        self.removed.append("networks")
        return True


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    made = Made()
    for name in ("find", "remove", "remove_networks", "witness_of_making"):
        monkeypatch.setattr(Containers, name, staticmethod(getattr(made, name)))
    return made


@pytest.fixture
def driver(tmp_path: Path) -> DockerDriver:
    options = DockerOptions(UnixEndpoint("/none"), gpu_devices=NO_DEVICES, network="none")
    driver = DockerDriver(
        options, supplier="lab", gpus={"h100": 8}, database_id="db", incarnation="1", directory=tmp_path
    )
    driver._is_podman = False
    return driver


def test_a_starter_at_work_keeps_its_container(made: Made, driver: DockerDriver) -> None:
    """The container may have been made by another, which died before it claimed it, long ago."""
    states = []
    for waited in (0.0, CLAIM_SECONDS / 2, CLAIM_SECONDS - 1):
        made.at = CLAIMED_AT + waited
        states.append(driver.poll(PLACEMENT, WORKLOAD, made.at).state)

    assert (states, made.removed) == ([PlacementState.PROVISIONING] * 3, [])


@pytest.mark.parametrize(
    ("witness", "is_podman", "has_process", "expected"),
    [
        (Witness.SAW_IT, False, False, "not_started"),
        (Witness.SAW_NOTHING, False, False, "start_unknown"),
        (Witness.FORGOT, False, False, "start_unknown"),
        (Witness.SAW_NOTHING, True, False, "not_started"),
        (Witness.SAW_NOTHING, True, True, "start_unknown"),
    ],
)
def test_a_starter_that_died_is_given_up(
    made: Made, driver: DockerDriver, witness: Witness, is_podman: bool, has_process: bool, expected: str
) -> None:
    """It had recorded its claim, and never got to the start, or its engine was killed after that, unless it says so."""
    made.witness, driver._is_podman = witness, is_podman
    made.container = replace(made.container, has_process=has_process)
    driver._attempt(PLACEMENT).claim("c")
    driver.poll(PLACEMENT, WORKLOAD, made.at)
    made.at = CLAIMED_AT + CLAIM_SECONDS
    report = driver.poll(PLACEMENT, WORKLOAD, made.at)

    is_known = expected == "not_started"
    assert report.state is (PlacementState.NOT_STARTED if is_known else PlacementState.LOST)
    assert (report.error_code, report.started_at, report.finished_at) == (expected, None, None)
    assert made.removed == ["networks", "container"]
