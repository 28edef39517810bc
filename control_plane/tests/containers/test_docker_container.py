"""What an engine is asked for: everything that was asked for, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from nodus_control.suppliers.docker.acceptable import require_acceptable
from nodus_control.suppliers.docker.container import create_document, gpus_of
from nodus_control.suppliers.protocol import Placement, SubmissionRefused, Workload
from nodus_core.suppliers_file import NO_DEVICES, NVIDIA, DockerOptions, UnixEndpoint

OPTIONS = DockerOptions(UnixEndpoint("/s"))
GPUS = {"h100": 2, "l40s": 3}


def workload(command: tuple[str, ...] | None = ("run", "it"), gpu: str = "l40s", **env: str) -> Workload:
    """What is to run."""
    return Workload("image", gpu, 2, 60, command, env)


def placed(*indices: int) -> Placement:
    """An attempt with these slots."""
    return Placement("job", 2, "lab", "here", 0.0, gpu_indices=indices)


def document(options: DockerOptions = OPTIONS, job: Workload | None = None, **changed: Any) -> dict[str, Any]:
    """The document for a job."""
    usual: dict[str, Any] = {"image": "r/i:1", "labels": {"a": "b"}, "gpus": [], "network": "n", "log_driver": "local"}
    return create_document(placed(0, 1), job or workload(), options, **{**usual, **changed})


def test_a_container_gets_no_rights_unless_they_are_given_back() -> None:
    """Whatever the image says."""
    host = document(DockerOptions(UnixEndpoint("/s"), capabilities=("CHOWN",)))["HostConfig"]

    assert (host["CapDrop"], host["CapAdd"], host["Privileged"]) == (["ALL"], ["CHOWN"], False)
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["Init"] is True
    assert (host["NetworkMode"], host["RestartPolicy"], host["AutoRemove"]) == ("n", {"Name": "no"}, False)


def test_limits_are_those_of_the_operator() -> None:
    """Memory without swap."""
    options = DockerOptions(UnixEndpoint("/s"), memory_bytes=1 << 30, cpus=1.5, pids=9, shm_bytes=1 << 20)
    host = document(options)["HostConfig"]

    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (1 << 30, 1 << 30, 1_500_000_000)
    assert (host["PidsLimit"], host["ShmSize"]) == (9, 1 << 20)
    assert {"Memory", "NanoCpus", "ShmSize"}.isdisjoint(document()["HostConfig"])


def test_the_command_is_the_images_own_only_if_none_is_given() -> None:
    """The entrypoint always is."""
    assert document()["Cmd"] == ["run", "it"]
    assert "Cmd" not in document(job=workload(None))
    assert "Entrypoint" not in document()


def test_secrets_are_in_the_environment_alone() -> None:
    """Labels, names and commands are shown to more people."""
    made = document(job=workload(TOKEN="secret=1\n2"))

    assert "TOKEN=secret=1\n2" in made.pop("Env")
    assert "secret" not in str(made)


@pytest.mark.parametrize(
    ("log_driver", "expected"),
    [("local", {"max-size": "1g", "max-file": "1", "compress": "false"}), ("k8s-file", {"max-size": "1g"})],
)
def test_the_engine_keeps_the_beginning_of_every_output_that_is_stored(
    log_driver: str, expected: dict[str, str]
) -> None:
    """And it keeps its bytes as they are."""
    assert document(log_driver=log_driver)["HostConfig"]["LogConfig"] == {"Type": log_driver, "Config": expected}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (DockerOptions(UnixEndpoint("/s")), [2, 4]),
        (DockerOptions(UnixEndpoint("/s"), gpu_indices=(9, 8, 7, 6, 5)), [7, 5]),
        (DockerOptions(UnixEndpoint("/s"), gpu_devices=("/a", "/b", "/c", "/d", "/e")), ["/c", "/e"]),
        (DockerOptions(UnixEndpoint("/s"), gpu_devices=NO_DEVICES), []),
    ],
)
def test_slots_are_numbered_through_all_models(options: DockerOptions, expected: list[int | str]) -> None:
    """In the order of the operator's file."""
    assert gpus_of(placed(0, 2), workload(), options, GPUS) == expected


@pytest.mark.parametrize("slots", [(0, 3), (0,), ()])
def test_a_job_whose_gpus_are_not_known_cannot_run(slots: tuple[int, ...]) -> None:
    """Too few slots, or one that is not there."""
    with pytest.raises(SubmissionRefused):
        gpus_of(placed(*slots), workload(), OPTIONS, GPUS)


def test_gpus_are_asked_for_by_their_indices_or_paths() -> None:
    """Never by a number of them, which would be any."""
    requests = document(gpus=[2, 4])["HostConfig"]["DeviceRequests"]
    paths = document(DockerOptions(UnixEndpoint("/s"), gpu_devices=("/a",)), gpus=["/a"])["HostConfig"]["Devices"]

    assert requests == [{"Driver": NVIDIA, "DeviceIDs": ["2", "4"], "Capabilities": [["gpu"]]}]
    assert [each["PathOnHost"] for each in paths] == ["/a"]


@pytest.mark.parametrize(
    ("command", "env"), [(("a\0",), {}), (("\ud800",), {}), (("a",), {"": "x"}), (("a",), {"A=B": "x"})]
)
def test_what_no_engine_takes_is_refused_without_being_quoted(command: tuple[str, ...], env: dict[str, str]) -> None:
    """Before anything is sent."""
    with pytest.raises(SubmissionRefused) as refused:
        require_acceptable(workload(command, **env), OPTIONS)

    assert refused.value.code == "invalid_command"
