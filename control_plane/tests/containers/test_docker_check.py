"""An operator is told of an engine what jobs would find out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nodus_control.suppliers.docker.check import check, judge, read_reached
from nodus_control.suppliers.findings import Level
from nodus_core.suppliers_file import NO_DEVICES, NVIDIA, DockerOptions, TcpEndpoint, UnixEndpoint

if TYPE_CHECKING:
    from containers.conftest import ContainerJobs

OPTIONS = DockerOptions(UnixEndpoint("/nowhere"), gpu_devices=NO_DEVICES)
VERSION: dict[str, Any] = {"Version": "20.10", "ApiVersion": "1.41", "Components": [{"Name": "Engine"}]}
INFO: dict[str, Any] = {"LiveRestoreEnabled": True, "SecurityOptions": ["name=userns"], "Runtimes": {"nvidia": {}}}
GOOD = replace(OPTIONS, gpu_devices=NVIDIA)


def worst(options: DockerOptions, version: dict[str, Any], info: dict[str, Any]) -> list[tuple[Level, str]]:
    """What is not good."""
    return [(each.level, each.text) for each in judge(options, {"h100": 2}, version, info) if each.level != Level.GOOD]


def test_an_engine_as_it_should_be_has_no_faults() -> None:
    """Nothing is warned of either."""
    assert worst(GOOD, VERSION, INFO) == []


@pytest.mark.parametrize(
    ("options", "version", "info", "level", "word"),
    [
        (GOOD, {"ApiVersion": "1.9"}, {}, Level.FAULT, "1.41"),
        (GOOD, {}, {"LiveRestoreEnabled": False}, Level.WARNING, "live-restore"),
        (GOOD, {}, {"SecurityOptions": ["name=seccomp"]}, Level.WARNING, "userns-remap"),
        (GOOD, {}, {"Runtimes": {"runc": {}}}, Level.WARNING, "toolkit"),
        (GOOD, {"Components": [{"Name": "Podman Engine"}]}, {}, Level.FAULT, "device paths"),
        (replace(GOOD, gpu_indices=(1,)), {}, {}, Level.FAULT, "gpu_indices"),
        (replace(GOOD, gpu_devices=("/dev/null",)), {}, {}, Level.FAULT, "gpu_devices"),
        (OPTIONS, {}, {}, Level.WARNING, "no GPU"),
        (GOOD, {}, {"Warnings": ["no swap limit"]}, Level.WARNING, "no swap limit"),
    ],
)
def test_each_fault_is_named(
    options: DockerOptions, version: dict[str, Any], info: dict[str, Any], level: Level, word: str
) -> None:
    """One at a time."""
    [(found, text)] = worst(options, {**VERSION, **version}, {**INFO, **info})

    assert found is level
    assert word in text


def test_an_engine_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    """With what to do next."""
    [found] = check(replace(OPTIONS, endpoint=UnixEndpoint(str(tmp_path / "none"))), {})

    assert found.level is Level.FAULT
    assert "endpoint" in found.text


def test_an_engine_on_the_network_without_certificates_is_a_fault() -> None:
    """Whoever reaches it is root on its host."""
    [found] = check(replace(OPTIONS, endpoint=TcpEndpoint("127.0.0.1", 1)), {})

    assert found.level is Level.FAULT
    assert "tls" in found.text


def test_what_a_probe_prints_is_what_it_reached() -> None:
    """Nothing else counts."""
    assert read_reached(b"10.0.0.1,22\nsomething\n", ["10.0.0.1 22", "1.1.1.1 443"]) == ["10.0.0.1 22"]


def test_a_real_engine_is_reached_and_probed(jobs: ContainerJobs) -> None:
    """The probe leaves nothing behind."""
    jobs.run("true")
    found = check(jobs.options(), {"h100": 1}, probe_image=jobs.image)
    texts = " ".join(each.text for each in found)

    assert "reached: " in texts
    assert "a container reached" in texts
    assert all(not each["Names"][0].startswith("/nodus-probe") for each in jobs.engine.containers())
    assert jobs.engine.networks() == []
