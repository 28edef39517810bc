"""Templates are lists of words: what a job says stands in its place, and is never read by a shell."""

from __future__ import annotations

import dataclasses

import pytest

from nodus_control.suppliers.protocol import SubmissionRefused, Workload
from nodus_control.suppliers.slurm.acceptable import GIVEN_BY_THE_CLUSTER
from nodus_control.suppliers.slurm.templates import command_of, fill
from nodus_core.suppliers_file import SlurmOptions

TEMPLATE = ("podman", "run", "{env}", "--gpus=all", "--volume={work}:/w", "{image}")
GPUS = tuple(f"--env={name}" for name in GIVEN_BY_THE_CLUSTER)


def workload(
    image: str = "a/b:1", command: tuple[str, ...] | None = ("run", "it"), env: dict[str, str] | None = None
) -> Workload:
    return Workload(image, "h100_80gb", 1, 60, command, env or {})


def options(image_command: tuple[str, ...] = TEMPLATE, **images: tuple[str, ...]) -> SlurmOptions:
    return SlurmOptions("/shared", image_command=image_command, images=images)


def test_each_place_is_filled_and_the_command_follows() -> None:
    """Of the variables only the names; the GPUs that Slurm gave are handed on with them."""
    words = command_of(options(), workload(env={"A": "secret", "B": "x"}), work="/shared/w")

    assert words == (
        "podman",
        "run",
        "--env=A",
        "--env=B",
        *GPUS,
        "--gpus=all",
        "--volume=/shared/w:/w",
        "a/b:1",
        "run",
        "it",
    )


def test_a_job_without_a_command_runs_what_its_image_says() -> None:
    """The image is the last word."""
    assert command_of(options(), workload(command=None), work="/w")[-1] == "a/b:1"


def test_an_image_that_needs_no_container_has_a_prefix_of_its_own() -> None:
    """Which comes before the general template."""
    assert command_of(options(conda=("env", "-C", "/opt")), workload("conda"), work="/w") == (
        *("env", "-C", "/opt"),
        *("run", "it"),
    )


def test_what_is_filled_in_is_not_filled_again() -> None:
    """An image, or a command, that looks like a place stays what it is."""
    assert fill(("{image}", "{work}"), image="{work}", work="/w") == ("{work}", "/w")
    assert command_of(options(), workload(command=("{image}", "{env}")), work="/w")[-2:] == ("{image}", "{env}")


def test_an_image_without_a_template_cannot_run() -> None:
    """It is never run without its image."""
    with pytest.raises(SubmissionRefused) as refused:
        command_of(options((), conda=()), workload("a/b:1"), work="/w")

    assert refused.value.code == "cannot_run"


def test_something_must_be_left_to_run() -> None:
    """An image that stands for nothing needs a command."""
    with pytest.raises(SubmissionRefused) as refused:
        command_of(options(conda=()), workload("conda", None), work="/w")

    assert refused.value.code == "command_required"


@pytest.mark.parametrize(
    ("command", "env"),
    [
        (("a\0b",), {}),
        (("",), {}),
        ((), {}),
        (("\ud800",), {}),
        (("a",), {"A": "x\0"}),
        (("a",), {"A-B": "x"}),
        (("a",), {"1A": "x"}),
        (("a",), {"Ä": "x"}),
        (("a",), {"UID": "x"}),
        (("a",), {"PWD": "x"}),
        (("a",), {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}),
        (("a",), {"SLURM_JOB_ID": "1"}),
    ],
)
def test_what_cannot_be_handed_on_is_refused_and_not_quoted(command: tuple[str, ...], env: dict[str, str]) -> None:
    """A name that a shell keeps, or by which a job would take GPUs that others were given, among them."""
    with pytest.raises(SubmissionRefused) as refused:
        command_of(options(), workload(command=command, env=env), work="/w")

    assert refused.value.code == "invalid_command"
    assert "0,1,2,3" not in refused.value.message


@pytest.mark.parametrize(
    "template", [("podman", "run", "{env}", "{image}"), ("podman", "run", "{env}", "{image}", "--nv")]
)
def test_a_job_that_asks_for_a_gpu_is_not_run_in_a_container_without_one(template: tuple[str, ...]) -> None:
    """The reader of the file refuses such a template, and so does whoever got it another way."""
    asks_for_none = dataclasses.replace(workload(), gpu_count=0)
    with pytest.raises(SubmissionRefused) as refused:
        command_of(options(template), workload(), work="/w")

    assert refused.value.code == "cannot_run"
    assert command_of(options(template), asks_for_none, work="/w")[:2] == ("podman", "run")
