"""An operator hears what a cluster lacks before a customer does."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from servers.slurm import SlurmCluster
from slurm.cluster_jobs import options_of

from nodus_control.suppliers.findings import Level
from nodus_control.suppliers.slurm.check import (
    check,
    judge_configuration,
    judge_partitions,
    judge_templates,
    judge_version,
    parse_configuration,
)
from nodus_control.suppliers.slurm.transport import ShellTransport
from nodus_core.suppliers_file import SlurmOptions, SshEndpoint

OPTIONS = SlurmOptions("/shared", partition="gpu", gpu_names={"h100_80gb": "h100"})
GOOD = {"TaskPlugin": "task/cgroup,task/affinity", "ProctrackType": "proctrack/cgroup", "ConstrainDevices": "yes"}


def test_a_real_cluster_is_reached_and_its_hazards_are_named(slurm: SlurmCluster) -> None:
    """The one of the tests has no cgroups."""
    found = check(options_of(slurm), ["h100_80gb", "l40s"])

    assert found[0].level is Level.GOOD
    assert "nodus-tests" in found[0].text
    assert [each.text.split(" ")[0] for each in found if each.level is Level.WARNING] == ["TaskPlugin", "ProctrackType"]
    assert ["l40s" in each.text for each in found if each.level is Level.FAULT] == [True]


def test_a_partition_that_is_not_there_is_an_error(slurm: SlurmCluster) -> None:
    """Slurm would refuse each job."""
    found = check(options_of(slurm, partition="none"), ["h100_80gb"])

    assert [each.text for each in found if each.level is Level.FAULT] == [
        "partition none is not there: set `partition` to one that `sinfo` names"
    ]


def test_what_cannot_be_reached_is_one_error(tmp_path: Path) -> None:
    """Nothing else is known then."""
    options = dataclasses.replace(OPTIONS, transport=SshEndpoint("login.example", "me"))
    found = check(options, transport=ShellTransport(options.transport, ssh=str(tmp_path / "none")))

    assert [each.level for each in found] == [Level.FAULT]
    assert "me@login.example" in found[0].text


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"TaskPlugin": "task/affinity"}, "TaskPlugin"),
        ({"ConstrainDevices": "no"}, "ConstrainDevices"),
        ({"ProctrackType": "proctrack/linuxproc"}, "ProctrackType"),
        ({"PreemptMode": "REQUEUE"}, "PreemptMode"),
        ({"PreemptMode": "SUSPEND,GANG"}, "PreemptMode"),
    ],
)
def test_each_hazard_is_named_and_no_other(changes: dict[str, str], word: str) -> None:
    """One spoiled setting, one finding."""
    found = judge_configuration({**GOOD, **changes})

    assert [each.text.split(" ")[0] for each in found] == [word]
    assert judge_configuration(GOOD) == []


@pytest.mark.parametrize(
    ("said", "levels"),
    [
        ("gpu|up|infinite|2|gpu:h100:8", []),
        ("gpu|up|infinite|2|gpu:h100:8(S:0-1),nvme:1", []),
        ("gpu|up|1-00:00:00|2|gpu:h100:8", [Level.WARNING]),
        ("gpu|down|infinite|2|gpu:h100:8", [Level.FAULT]),
        ("gpu|up|infinite|2|(null)", [Level.FAULT]),
        ("gpu|up|infinite|2|gpu:a100:8\ngpu|up|infinite|1|gpu:h100:4", []),
        ("gpu*|up|infinite|2|gpu:h100:8", []),
        ("CLUSTER: one\ngpu|up|infinite|2|gpu:h100:8\n", []),
        ("warning: something\n gpu | up | infinite | 2 | gpu:h100:8 ", []),
        ("gpu|up|UNLIMITED|2|gpu:h100:8", []),
        ("gpu|UP|infinite|2|gres/gpu:h100:8(S:0),gpu:l40s:2(S:1)", []),
        ("gpu|up|infinite|2|gpu:8", [Level.FAULT]),
        ("gpu|up|infinite|2|gpu:h100_old:8,fakegpu:h100:1", [Level.FAULT]),
        ("gpu|drain|infinite|2|gpu:h100:8", [Level.FAULT]),
        ("gpu|inact|infinite|2|gpu:h100:8", [Level.FAULT]),
        ("gpu|down|infinite|1|gpu:h100:8\ngpu|up|infinite|1|gpu:h100:8", []),
        ("", [Level.FAULT]),
        (None, [Level.FAULT]),
    ],
)
def test_a_partition_is_judged(said: str | None, levels: list[Level]) -> None:
    """State, time limit, and the GPUs by the cluster's names."""
    assert [each.level for each in judge_partitions(said, OPTIONS, ["h100_80gb"])] == levels


def test_without_a_partition_the_default_one_is_judged() -> None:
    """Which Slurm names with a star; where there is none, nothing of ours would be taken."""
    options = dataclasses.replace(OPTIONS, partition=None)
    others = "debug|down|infinite|2|(null)\ngpu{star}|up|infinite|2|gpu:h100:8"

    assert judge_partitions(others.format(star="*"), options, ["h100_80gb"]) == []
    assert [each.text.split(":")[0] for each in judge_partitions(others.format(star=""), options, ["h100_80gb"])] == [
        "the default partition is not there"
    ]


def test_settings_are_read_as_slurm_prints_them() -> None:
    """With or without anything after the equals sign."""
    text = "Configuration data as of now\nTaskPlugin              = task/none\nJobRequeue = 0\nPrologFlags = \n"

    assert parse_configuration(text) == {"TaskPlugin": "task/none", "JobRequeue": "0", "PrologFlags": ""}


@pytest.mark.parametrize(
    ("image_command", "stop_command", "count"),
    [
        ((), (), 0),
        (("/usr/bin/podman", "run", "--gpus=all", "{image}"), (), 1),
        (("podman", "run", "--device", "nvidia.com/gpu=all", "{image}"), ("podman", "rm"), 0),
        (("apptainer", "run", "--nv", "{image}"), (), 0),
    ],
)
def test_a_container_that_outlives_its_client_needs_a_command_that_ends_it(
    image_command: tuple[str, ...], stop_command: tuple[str, ...], count: int
) -> None:
    """One that is its client's child does not."""
    options = dataclasses.replace(OPTIONS, image_command=image_command, stop_command=stop_command)

    assert len(judge_templates(options)) == count


@pytest.mark.parametrize("image_command", [("apptainer", "run", "{image}"), ("apptainer", "run", "{image}", "--nv")])
def test_a_template_that_gives_no_gpu_is_a_fault(image_command: tuple[str, ...]) -> None:
    """What comes after the image is the program's."""
    found = judge_templates(dataclasses.replace(OPTIONS, image_command=image_command))

    assert [each.level for each in found] == [Level.FAULT]
    assert "--device, --gpus, --nv" in found[0].text


@pytest.mark.parametrize(("version", "count"), [("22.05.8", 0), ("25.11.0", 0), ("19.05.2", 1), ("unknown", 0)])
def test_an_old_slurm_is_warned_of(version: str, count: int) -> None:
    """One that nobody tried."""
    assert len(judge_version(version)) == count
