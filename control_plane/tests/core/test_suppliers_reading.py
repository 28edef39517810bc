"""Suppliers files: what a good one says, and every way in which one can be bad."""

from __future__ import annotations

import re

import pytest

from nodus_core.suppliers_file import (
    DriverName,
    EnvReference,
    FileReference,
    ProcessSupplierOptions,
    SimulatedOptions,
    SlurmOptions,
    SshEndpoint,
    SupplierEntry,
    SupplierKind,
    SuppliersFile,
    TcpEndpoint,
    Tls,
)
from nodus_core.suppliers_reading import InvalidSuppliersFile, read_suppliers

GOOD: str = """\
[retail]
usd_per_gpu_hour = { h100_80gb = 6.88 }

[[supplier]]
name = "lab"
kind = "own"
regions = ["basement"]
driver = "docker"
gpus = { h100_80gb = 8, l40s = 4 }
usd_per_gpu_hour = { h100_80gb = 1.10, l40s = 0 }
start_deadline_seconds = 600
retry_after_loss = 1
unknown_grace_seconds = 3600
[supplier.docker]
endpoint = "unix:///var/run/docker.sock"

[[supplier]]
name = "campus"
kind = "tier3"
regions = ["north", "south"]
driver = "slurm"
usd_per_gpu_hour = { a100_40gb = 0.5 }
[supplier.slurm]
folder = "/shared/nodus"
image_command = ["podman", "run", "{env}", "--device=nvidia.com/gpu=all", "{image}"]

[[supplier]]
name = "desk"
kind = "neocloud"
regions = ["here"]
driver = "process"
gpus = { rtx_4090 = 1 }
usd_per_gpu_hour = { rtx_4090 = 2 }

[[supplier]]
name = "mock"
kind = "hyperscaler"
regions = ["moon"]
driver = "simulated"
usd_per_gpu_hour = { h100_80gb = 12.345678 }
"""


def problems_of(text: str) -> list[tuple[int, str]]:
    """What is wrong with a file."""
    with pytest.raises(InvalidSuppliersFile) as caught:
        read_suppliers(text, "suppliers.toml")
    return [(problem.line, problem.message) for problem in caught.value.problems]


def spoiled(line: str, instead: str) -> tuple[str, int]:
    """The good file with one line changed, and the number of that line."""
    lines = GOOD.splitlines()
    at = lines.index(line)
    lines[at] = instead
    return "\n".join(lines) + "\n", at + 1


def test_a_good_file_is_read_whole() -> None:
    """Every driver, with what is given and with the defaults of what is not."""
    read = read_suppliers(GOOD, "suppliers.toml")
    lab, campus, desk, mock = read.suppliers

    assert read.retail == {"h100_80gb": 6_880_000}
    assert (lab.name, lab.kind, lab.regions, lab.driver) == ("lab", SupplierKind.OWN, ("basement",), DriverName.DOCKER)
    assert lab.gpus == {"h100_80gb": 8, "l40s": 4}
    assert lab.micros_per_gpu_hour == {"h100_80gb": 1_100_000, "l40s": 0}
    assert (lab.start_deadline_seconds, lab.retry_after_loss, lab.unknown_grace_seconds) == (600, 1, 3600)
    assert campus == SupplierEntry(
        name="campus",
        kind=SupplierKind.TIER3,
        regions=("north", "south"),
        driver=DriverName.SLURM,
        gpus=None,
        micros_per_gpu_hour={"a100_40gb": 500_000},
        options=SlurmOptions(
            folder="/shared/nodus",
            image_command=("podman", "run", "{env}", "--device=nvidia.com/gpu=all", "{image}"),
        ),
        start_deadline_seconds=None,
        retry_after_loss=2,
        unknown_grace_seconds=0,
    )
    assert (desk.options, desk.start_deadline_seconds) == (ProcessSupplierOptions(), 900)
    assert (mock.options, mock.gpus, mock.retry_after_loss) == (SimulatedOptions(), None, 0)
    assert mock.start_deadline_seconds is None
    assert [entry.is_simulated for entry in read.suppliers] == [False, False, False, True]
    assert mock.micros_per_gpu_hour == {"h100_80gb": 12_345_678}


def test_retail_may_be_left_out() -> None:
    """Then nothing is said of it."""
    assert read_suppliers(GOOD.split("\n\n", 1)[1], "x").retail == {}


def test_a_file_with_secrets_shows_none() -> None:
    """Whatever prints the values of a file prints where its secrets are, not what they are."""
    text = GOOD.replace(
        'endpoint = "unix:///var/run/docker.sock"',
        'endpoint = "tcp://[fd00::1]:2376"\ntls = { ca = "file:/ca", cert = "file:/cert", key = "env:KEY" }',
    )
    options = read_suppliers(text, "x").suppliers[0].options

    assert getattr(options, "endpoint", None) == TcpEndpoint("fd00::1", 2376)
    assert getattr(options, "tls", None) == Tls(FileReference("/ca"), FileReference("/cert"), EnvReference("KEY"))


@pytest.mark.parametrize(
    ("line", "instead", "expected"),
    [
        ('name = "lab"', 'name = "Lab"', "1 to 63 of a-z, 0-9 and -"),
        ('name = "lab"', f'name = "{"a" * 64}"', "1 to 63 of a-z, 0-9 and -"),
        ('name = "lab"', "name = 5", "1 to 63 of a-z, 0-9 and -"),
        ('name = "lab"', 'name = "legacy-process"', "must be another"),
        ('name = "campus"', 'name = "lab"', "is that of supplier 1 of this file too"),
        ('kind = "own"', 'kind = "mine"', "one of `own`, `neocloud`, `tier3`, `hyperscaler`"),
        ('driver = "docker"', 'driver = "podman"', "one of `docker`, `slurm`, `process`, `simulated`"),
        ('regions = ["basement"]', 'regions = "basement"', "must be a list of strings"),
        ('regions = ["basement"]', "regions = []", "at least one name"),
        ('regions = ["basement"]', 'regions = ["a", "b"]', "exactly one name with the driver `docker`"),
        ('regions = ["here"]', 'regions = ["a", "b"]', "exactly one name with the driver `process`"),
        ('regions = ["north", "south"]', 'regions = ["north", "north"]', "a name twice"),
        ('regions = ["north", "south"]', 'regions = ["north", "so uth"]', "each item of `regions` must be a name"),
        ("gpus = { rtx_4090 = 1 }", "gpus = { rtx_4090 = 0 }", "rtx_4090 in `gpus` must be a whole number from 1"),
        ("gpus = { rtx_4090 = 1 }", "gpus = { rtx_4090 = true }", "rtx_4090 in `gpus` must be a whole number from 1"),
        ("gpus = { rtx_4090 = 1 }", "gpus = { RTX-4090 = 1 }", "a name in `gpus` must be a GPU model"),
        ("gpus = { rtx_4090 = 1 }", "gpus = 1", "`gpus` must be a table"),
        ("gpus = { h100_80gb = 8, l40s = 4 }", "gpus = { h100_80gb = 8, l40s = 4, a10g = 1 }", "a10g has no price"),
        ("usd_per_gpu_hour = { rtx_4090 = 2 }", "usd_per_gpu_hour = { rtx_4090 = 2, l4 = 1 }", "l4 is not in `gpus`"),
        ("usd_per_gpu_hour = { rtx_4090 = 2 }", "usd_per_gpu_hour = {}", "a price for at least one GPU"),
        ("usd_per_gpu_hour = { rtx_4090 = 2 }", "usd_per_gpu_hour = { rtx_4090 = -2 }", "must be a price in USD"),
        ("usd_per_gpu_hour = { rtx_4090 = 2 }", 'usd_per_gpu_hour = { rtx_4090 = "2" }', "must be a price in USD"),
        ("usd_per_gpu_hour = { h100_80gb = 6.88 }", "usd_per_hour = 6.88", "Did you mean `usd_per_gpu_hour`?"),
        ("[retail]", "[retails]", "Did you mean `retail`?"),
        ("start_deadline_seconds = 600", "start_deadline_seconds = 0", "whole number from 1 to 86400"),
        ("retry_after_loss = 1", "retry_after_loss = 1.0", "whole number from 0 to 100"),
        ("unknown_grace_seconds = 3600", "unknown_grace = 3600", "Did you mean `unknown_grace_seconds`?"),
        ("retry_after_loss = 1", "process = { user = 'jobs' }", "[supplier.process] belongs to another driver"),
        ('driver = "slurm"', 'driver = "slurm"\ngpus = { a100_40gb = 4 }', "`gpus` must be left out"),
        ('driver = "slurm"', 'driver = "slurm"\nstart_deadline_seconds = 9', "`start_deadline_seconds` must be left"),
        (
            'driver = "simulated"',
            'driver = "simulated"\nunknown_grace_seconds = 9',
            "`unknown_grace_seconds` must be left",
        ),
    ],
)
def test_each_mistake_is_named_with_its_line(line: str, instead: str, expected: str) -> None:
    """One mistake gives one problem, where it is, and says what to do."""
    text, at = spoiled(line, instead)
    problems = problems_of(text)

    assert len(problems) == 1
    assert problems[0][0] == at + instead.count("\n")
    assert expected in problems[0][1]


@pytest.mark.parametrize(
    ("line", "missing"),
    [
        ('name = "lab"', "name"),
        ('kind = "own"', "kind"),
        ('driver = "docker"', "driver"),
        ('regions = ["basement"]', "regions"),
        ("gpus = { rtx_4090 = 1 }", "gpus"),
        ("gpus = { h100_80gb = 8, l40s = 4 }", "gpus"),
        ("usd_per_gpu_hour = { rtx_4090 = 2 }", "usd_per_gpu_hour"),
    ],
)
def test_what_must_be_given_is_missed_at_its_supplier(line: str, missing: str) -> None:
    """The line is that of the supplier's [[supplier]]."""
    text, at = spoiled(line, "")
    headers = [place for place, each in enumerate(text.splitlines(), 1) if each == "[[supplier]]" and place < at]

    assert [(place, message.partition(": ")[2][: len(missing) + 14]) for place, message in problems_of(text)] == [
        (headers[-1], f"`{missing}` is missing:")
    ]


def test_all_mistakes_are_named_at_once() -> None:
    """In the order of the file, each with the file's name and line, so that an editor can go there."""
    text = GOOD.replace('"own"', '"mine"').replace("rtx_4090 = 1", "rtx_4090 = 0").replace("12.345678", "12.3456789")
    with pytest.raises(InvalidSuppliersFile) as caught:
        read_suppliers(text, "suppliers.toml")

    assert [re.split(r": ", each)[:2] for each in str(caught.value).splitlines()] == [
        ["suppliers.toml:6", 'supplier "lab"'],
        ["suppliers.toml:32", 'supplier "desk"'],
        ["suppliers.toml:40", 'supplier "mock"'],
    ]


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("", 1, "there is no supplier"),
        ("supplier = []", 1, "each begins with a line [[supplier]]"),
        ("supplier = 1", 1, "each begins with a line [[supplier]]"),
        ("\n\n[supplier]\nname = 'x'\n", 3, "each begins with a line [[supplier]]"),
        ("a = 1\n\nb = = 2\n", 3, "not TOML: Invalid value"),
        ("a = 1\na = 2\n", 2, "not TOML: Cannot overwrite a value"),
        ("a = 1\nb = [1,\n", 2, "not TOML: "),
        ("a = " + "[" * 5000, 1, "TOML"),
        ("a = " + "9" * 5000, 1, "TOML"),
    ],
)
def test_what_is_no_suppliers_file(text: str, line: int, expected: str) -> None:
    """Syntax too is reported with its line."""
    (problem,) = problems_of(text)

    assert problem[0] == line
    assert expected in problem[1]


def test_a_plural_is_put_right() -> None:
    """[[suppliers]] is what many would write."""
    problems = problems_of(GOOD.replace("[[supplier]]", "[[suppliers]]").replace("[supplier.", "[suppliers."))

    assert [line for line, _message in problems] == [1, 4]
    assert "each supplier begins with a line [[supplier]]" in problems[1][1]


def test_ssh_with_everything() -> None:
    """A login node with user and port."""
    text = GOOD.replace('folder = "/shared/nodus"', 'folder = "/s"\ntransport = "ssh://jobs@login.example:2222"')
    options = read_suppliers(text, "x").suppliers[1].options

    assert isinstance(options, SlurmOptions)
    assert options.transport == SshEndpoint("login.example", "jobs", 2222)
    assert options.transport is not None
    assert options.transport.destination == "jobs@login.example"


def test_equal_files_are_equal() -> None:
    """Comments and layout are not part of what a file says."""
    read: SuppliersFile = read_suppliers(GOOD, "one")

    assert read == read_suppliers("# a comment\n" + GOOD.replace(" = ", "="), "two")
