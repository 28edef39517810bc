"""The drivers' own sections of a suppliers file."""

from __future__ import annotations

import pytest

from nodus_core.suppliers_file import (
    DockerOptions,
    FileReference,
    Options,
    ProcessSupplierOptions,
    SimulatedOptions,
    SlurmOptions,
    SshEndpoint,
    UnixEndpoint,
)
from nodus_core.suppliers_reading import InvalidSuppliersFile, read_suppliers

TLS = 'tls = { ca = "file:/ca", cert = "file:/cert", key = "file:/key" }'
UNIX = 'endpoint = "unix:///var/run/docker.sock"'
TCP = 'endpoint = "tcp://engine:2376"'
FOLDER = 'folder = "/shared/nodus"'
RUN = 'image_command = ["apptainer", "exec", "--nv", "{env}", "docker://{image}"]'


def file_with(driver: str, *section: str) -> str:
    """A file of one supplier with two GPUs, and its driver's section, from line 8 on."""
    gpus = "gpus = { l4 = 2 }" if driver in ("docker", "process") else ""
    return "\n".join(
        [
            "[[supplier]]",
            'name = "x"',
            'kind = "own"',
            'regions = ["here"]',
            f'driver = "{driver}"',
            gpus,
            "usd_per_gpu_hour = { l4 = 1 }",
            f"[supplier.{driver}]",
            *section,
        ]
    )


def options_of(driver: str, *section: str) -> Options:
    """What a good section says."""
    return read_suppliers(file_with(driver, *section), "x").suppliers[0].options


def problems_of(driver: str, *section: str) -> list[tuple[int, str]]:
    """What is wrong with a section, with lines counted from its first one as 1."""
    with pytest.raises(InvalidSuppliersFile) as caught:
        read_suppliers(file_with(driver, *section), "x")
    return [(problem.line - 8, problem.message) for problem in caught.value.problems]


def test_docker_with_what_it_cannot_do_without() -> None:
    """Everything else has a default."""
    assert options_of("docker", UNIX) == DockerOptions(UnixEndpoint("/var/run/docker.sock"))
    assert options_of("docker", 'endpoint = "ssh://me@box"') == DockerOptions(SshEndpoint("box", "me"))


def test_docker_with_everything() -> None:
    """Amounts are read in GiB and held in bytes."""
    assert options_of(
        "docker",
        UNIX,
        'gpu_devices = ["/dev/null", "/dev/zero"]',
        "gpu_indices = [3, 1]",
        "memory_gib = 1.5",
        "cpus = 2.5",
        "pids = 100",
        "shm_gib = 1",
        'capabilities = ["CAP_SYS_PTRACE", "NET_RAW"]',
        'network = "host"',
        "isolation_is_not_needed = true",
        'registries = ["docker.io", "127.0.0.1:5000", "[::1]:5000"]',
        'registry_auth = { "docker.io" = "file:/auth" }',
        "min_free_disk_gib = 0",
    ) == DockerOptions(
        UnixEndpoint("/var/run/docker.sock"),
        gpu_devices=("/dev/null", "/dev/zero"),
        gpu_indices=(3, 1),
        memory_bytes=1_610_612_736,
        cpus=2.5,
        pids=100,
        shm_bytes=1 << 30,
        capabilities=("SYS_PTRACE", "NET_RAW"),
        network="host",
        isolation_is_not_needed=True,
        registries=("docker.io", "127.0.0.1:5000", "[::1]:5000"),
        registry_auth={"docker.io": FileReference("/auth")},
        min_free_disk_bytes=0,
    )


def test_slurm_with_everything() -> None:
    """Templates stay lists: nothing of a job goes through a shell."""
    assert options_of(
        "slurm",
        FOLDER,
        'transport = "local"',
        'partition = "gpu,long"',
        'gpu_names = { l4 = "nvidia-l4" }',
        RUN,
        'stop_command = ["rm", "-r", "{work}/x y"]',
        'images = { "acme/eval:v2" = ["/opt/eval/bin/run", "--"], plain = [] }',
        "isolation_is_not_needed = true",
    ) == SlurmOptions(
        folder="/shared/nodus",
        partition="gpu,long",
        gpu_names={"l4": "nvidia-l4"},
        image_command=("apptainer", "exec", "--nv", "{env}", "docker://{image}"),
        stop_command=("rm", "-r", "{work}/x y"),
        images={"acme/eval:v2": ("/opt/eval/bin/run", "--"), "plain": ()},
        isolation_is_not_needed=True,
    )


def test_slurm_without_containers() -> None:
    """A cluster may run named images only."""
    assert options_of("slurm", FOLDER, "images = { plain = [] }") == SlurmOptions("/shared/nodus", images={"plain": ()})


def test_process_with_everything() -> None:
    """An account for jobs, and how much memory each process may fill."""
    assert options_of(
        "process", 'user = "nodus-jobs"', "isolation_is_not_needed = true", "memory_gib = 8"
    ) == ProcessSupplierOptions("nodus-jobs", isolation_is_not_needed=True, memory_bytes=8 << 30)


def test_simulated_with_everything() -> None:
    """How a mock supplier behaves."""
    assert options_of(
        "simulated", "provisioning_seconds = [20, 60.5]", "capacity_refusal_rate = 0.08", "loss_per_hour = 1"
    ) == SimulatedOptions((20.0, 60.5), 0.08, 1.0)


@pytest.mark.parametrize(
    ("driver", "lines", "at", "expected"),
    [
        ("docker", [""], 0, "`endpoint` is missing"),
        ("docker", ['endpoint = "/var/run/docker.sock"'], 1, "`endpoint` must be unix:///PATH"),
        ("docker", ['endpoint = "unix://docker.sock"'], 1, "`endpoint` must be unix:///PATH"),
        ("docker", ['endpoint = "tcp://engine"', TLS], 1, "`endpoint` must be unix:///PATH"),
        ("docker", ['endpoint = "tcp://me@engine:1"', TLS], 1, "`endpoint` must be unix:///PATH"),
        ("docker", ['endpoint = "tcp://engine:70000"', TLS], 1, "`endpoint` must be unix:///PATH"),
        ("docker", ['endpoint = "tcp://engine:1/x"', TLS], 1, "`endpoint` must be unix:///PATH"),
        ("docker", ['endpoint = "ssh://-oProxyCommand=x"'], 1, "`endpoint` must be unix:///PATH"),
        ("docker", ['endpoint = "ssh://-l@host"'], 1, "`endpoint` must be unix:///PATH"),
        ("docker", ['endpoint = "ssh://me:secret@host"'], 1, "`endpoint` must be unix:///PATH"),
        ("docker", [TCP], 1, "add `tls = "),
        ("docker", [UNIX, TLS], 2, "leave it out"),
        ("docker", [TCP, TLS.replace("file:/key", "hunter2")], 2, "never stands in this file"),
        ("docker", [TCP, TLS.replace(', key = "file:/key"', "")], 2, "`key` is missing"),
        ("docker", [TCP, "tls = true"], 2, "`tls` must be a table"),
        ("docker", [UNIX, 'gpu_devices = "amd"'], 2, '"nvidia", "none" or a list'),
        ("docker", [UNIX, 'gpu_devices = ["/dev/null"]'], 2, "each of the 2 GPUs"),
        ("docker", [UNIX, 'gpu_devices = ["/dev/null", "null"]'], 2, "the absolute path of a device"),
        ("docker", [UNIX, "gpu_indices = [0]"], 2, "each of the 2 GPUs"),
        ("docker", [UNIX, "gpu_indices = [0, 0]"], 2, "a GPU twice"),
        ("docker", [UNIX, "gpu_indices = [0, -1]"], 2, "whole numbers"),
        ("docker", [UNIX, "memory_gib = 0"], 2, "above 0"),
        ("docker", [UNIX, 'cpus = "2"'], 2, "a number above 0"),
        ("docker", [UNIX, 'capabilities = ["sys_ptrace"]'], 2, "a Linux capability"),
        ("docker", [UNIX, 'network = "lan"'], 2, "one of `none`, `bridge`, `host`"),
        ("docker", [UNIX, 'network = "host"'], 2, "`isolation_is_not_needed = true`"),
        ("docker", [UNIX, "isolation_is_not_needed = 1"], 2, "true or false"),
        ("docker", [UNIX, 'registries = ["https://ghcr.io"]'], 2, "a registry"),
        ("docker", [UNIX, 'registry_auth = { "ghcr.io" = "me:hunter2" }'], 2, "never stands in this file"),
        ("docker", [UNIX, 'registries = ["a.b"]', 'registry_auth = { "c.d" = "env:A" }'], 3, "not in `registries`"),
        ("docker", [UNIX, "min_free_disk_gib = -1"], 2, "from 0"),
        ("docker", [UNIX, "memory = 4"], 2, "Did you mean `memory_gib`?"),
        ("slurm", [RUN], 0, "`folder` is missing"),
        ("slurm", ['folder = "nodus"', RUN], 1, "an absolute path"),
        ("slurm", ['folder = "/"', RUN], 1, "a folder of its own"),
        ("slurm", ['folder = "/a/../b"', RUN], 1, "without `..`"),
        ("slurm", [FOLDER], 0, "`image_command` is missing"),
        ("slurm", [FOLDER, RUN, 'transport = "login"'], 3, '"local" or ssh://USER@HOST'),
        ("slurm", [FOLDER, RUN, 'partition = "--x"'], 3, "the name of a partition"),
        ("slurm", [FOLDER, RUN, 'gpu_names = { a10g = "a10" }'], 3, "a10g has no price"),
        ("slurm", [FOLDER, RUN, 'gpu_names = { l4 = "a:b" }'], 3, "its name in the cluster"),
        ("slurm", [FOLDER, RUN.replace('"--nv", ', "")], 2, "gives the container no GPU"),
        ("slurm", [FOLDER, RUN.replace("--nv", "--nvx")], 2, "gives the container no GPU"),
        ("slurm", [FOLDER, RUN.replace('"--nv", ', "").replace("{image}", '{image}", "--nv')], 2, "container no GPU"),
        ("slurm", [FOLDER, RUN.replace("{image}", "x")], 2, "must have {image}"),
        ("slurm", [FOLDER, RUN.replace('"{env}", ', "")], 2, "must have {env}"),
        ("slurm", [FOLDER, RUN.replace('"{env}"', '"{env}", "x{env}"')], 2, "an item of its own"),
        ("slurm", [FOLDER, RUN.replace("exec", "{what}")], 2, "a placeholder that is none of"),
        ("slurm", [FOLDER, 'image_command = "podman run --gpus all {env} {image}"'], 2, "a list of strings"),
        ("slurm", [FOLDER, RUN, 'stop_command = ["rm", "{env}"]'], 3, "a placeholder that is none of"),
        ("slurm", [FOLDER, RUN, 'images = { plain = "run" }'], 3, "a list of strings"),
        ("slurm", [FOLDER, RUN, 'images = { "-x" = [] }'], 3, "an image reference"),
        ("process", ['user = "root"'], 1, "a dedicated account"),
        ("process", ['user = "nobody"'], 1, "a dedicated account"),
        ("process", ['user = "a b"'], 1, "the name of an account"),
        ("process", ['memory_gib = "8"'], 1, "a number above 0"),
        ("simulated", ["provisioning_seconds = [60, 20]"], 1, "the shortest and the longest"),
        ("simulated", ["provisioning_seconds = 20"], 1, "the shortest and the longest"),
        ("simulated", ["provisioning_seconds = [20]"], 1, "the shortest and the longest"),
        ("simulated", ["capacity_refusal_rate = 1.1"], 1, "from 0 to 1"),
        ("simulated", ["loss_per_hour = inf"], 1, "a number from 0"),
    ],
)
def test_each_mistake_is_named_with_its_line(driver: str, lines: list[str], at: int, expected: str) -> None:
    """One mistake gives one problem, where it is, which says what to do and repeats no secret."""
    problems = problems_of(driver, *lines)

    assert len(problems) == 1
    assert problems[0][0] == at
    assert expected in problems[0][1]
    assert "hunter2" not in problems[0][1]


@pytest.mark.parametrize("driver", ["docker", "slurm"])
def test_a_section_that_must_be_there_is_missed(driver: str) -> None:
    """At its supplier, once."""
    problems = problems_of(driver, "")
    text = file_with(driver).replace(f"[supplier.{driver}]", "")
    with pytest.raises(InvalidSuppliersFile) as caught:
        read_suppliers(text, "x")

    assert problems
    assert [problem.line for problem in caught.value.problems] == [1]
    assert f"a section [supplier.{driver}]" in caught.value.problems[0].message


def test_sections_without_which_there_are_defaults() -> None:
    """`process` and `simulated` need none."""
    for driver, expected in (("process", ProcessSupplierOptions()), ("simulated", SimulatedOptions())):
        text = file_with(driver).replace(f"[supplier.{driver}]", "")

        assert read_suppliers(text, "x").suppliers[0].options == expected
