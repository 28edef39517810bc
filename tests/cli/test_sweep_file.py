"""A file of jobs is read strictly: what is wrong in it is told with its line, and without a secret."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodus import JobSpec
from nodus._cli.sweep_file import _KINDS, MOST_BYTES, InvalidSweepError, lines_of, read_sweep
from nodus._fields import JOB

WHOLE = """\
# What is tried out.
image = "ghcr.io/acme/train:v3"
command = [
    "python", "train.py", # [not a table]
    "--lr={LR}",
]
gpu = "l40s"
gpu_count = 2
max_runtime_seconds = 7_200
require_tiers = ["tier3", "own"]
prefer_region = "eu"
idempotency_key = "sweep-7"
name = "lr \\"sweep\\""
max_cost_usd = 2.5
queue_timeout_seconds = 600
env.MODE = \"""
fast\"""

[labels]
team = "search"

[matrix]
LR = [0.1, 1e-4, 1_0.50]
SEED = [1, 0x10]
FP8 = [true, false]
SET = ["a b", "{LR}", "é"]
"""


def refusal(text: str | bytes) -> str:
    """What is said about a file that cannot be used."""
    with pytest.raises(InvalidSweepError) as caught:
        read_sweep(text.encode() if isinstance(text, str) else text, "sweep.toml")
    return str(caught.value)


def test_a_file_has_the_fields_of_a_job_and_lists_of_values() -> None:
    """Values are written as in the file; whole numbers in decimal, and booleans in lower case."""
    file = read_sweep(WHOLE.encode(), "sweep.toml")

    assert file.fields == {
        "image": "ghcr.io/acme/train:v3",
        "command": ["python", "train.py", "--lr={LR}"],
        "gpu": "l40s",
        "gpu_count": 2,
        "max_runtime_seconds": 7200,
        "require_tiers": ["tier3", "own"],
        "prefer_region": "eu",
        "idempotency_key": "sweep-7",
        "name": 'lr "sweep"',
        "max_cost_usd": 2.5,
        "queue_timeout_seconds": 600,
        "env": {"MODE": "fast"},
        "labels": {"team": "search"},
    }
    assert file.matrix == {
        "LR": ["0.1", "1e-4", "10.50"],
        "SEED": ["1", "16"],
        "FP8": ["true", "false"],
        "SET": ["a b", "{LR}", "é"],
    }
    assert set(file.fields) == set(JOB.names)
    JobSpec(**file.fields)


def test_every_type_of_a_field_can_be_read() -> None:
    """A new field that has another type needs a line in the table."""
    assert set(JOB.types.values()) == set(_KINDS)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_editors_of_all_systems_write_such_files(ending: str, mark: str) -> None:
    """With either end of lines, and with a byte order mark."""
    file = read_sweep((mark + WHOLE.replace("\n", ending)).encode(), "sweep.toml")

    assert file.place("gpu") == "sweep.toml, line 7"
    assert file.place("env", "MODE") == "sweep.toml, line 16"
    assert file.place("matrix", "SEED") == "sweep.toml, line 24"
    assert file.place("labels", "missing") == "sweep.toml, line 19"
    assert file.place("missing") == "sweep.toml, line 1"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("gpus = 1", 1, "`gpus` is no field of a job; did you mean `gpu`?"),
        ("\nxyzzy = 1", 2, "`xyzzy` is no field of a job; known are image, command, gpu"),
        ('"a\\nb" = 1', 1, "`a\\nb` is no field of a job"),
        ("image = 1", 1, "`image` must be a string, not a whole number."),
        ('gpu_count = "2"', 1, "`gpu_count` must be a whole number, not a string."),
        ("gpu_count = true", 1, "`gpu_count` must be a whole number, not a boolean."),
        ("gpu_count = 2.0", 1, "`gpu_count` must be a whole number, not a number with decimals."),
        ("max_cost_usd = 2026-11-01", 1, "`max_cost_usd` must be a number, not a date or time."),
        ('command = "train"', 1, "`command` must be a list of strings, not a string."),
        ("command = [\n 1,\n]", 1, "`command` must be a list of strings, not a list."),
        ('require_tiers = "own"', 1, "`require_tiers` must be a list of strings, not a string."),
        ("env = []", 1, "`env` must be a table of strings, not a list."),
        ("[env]\nA = ''\nB = 1", 3, "`env.B` must be a string: put quotes around it."),
        ("[labels]\na.b = ''", 2, "`labels.a` must be a string."),
        ("[[matrix]]\nLR = [1]", 1, "`matrix` must be a table of lists"),
        ("image = 'a'\n[matrix]", 2, "[matrix] is empty"),
        ("[matrix]\nLR = 0.1", 2, "`LR` must be a list, such as [0.1, 0.01], not a number with decimals."),
        ("[matrix]\nA = [1]\nLR = []", 3, "`LR` is empty, so there would be no job"),
        ("[matrix]\nLR = [[1]]", 2, "`LR` must have strings, numbers and booleans only, not a list."),
        ("[matrix]\nLR = [07:00:00]", 2, "not a date or time."),
        ("[matrix]\nLR = [1, 2,\n '1']", 2, "`LR` has '1' twice"),
        ("[matrix]\n'L R' = [1]", 2, "'L R' cannot be an environment variable"),
        ("[matrix]\n1R = [1]", 2, "'1R' cannot be an environment variable"),
        ("[matrix]\n_LR = [1]", 2, "`_LR` cannot be the label `_lr`: labels must have keys of 1 to 63"),
        ('[matrix]\nLR = ["a\\nb"]', 2, "`LR` cannot be the label `lr`: labels must have, as the value of 'lr'"),
        (f"[matrix]\nLR = ['{'x' * 129}']", 2, "at most 128 printable characters"),
        ("[matrix]\nLR = [1]\nlr = [2]", 3, "`lr` and `LR` would both be the label `lr`"),
        ("env.LR = 'a'\n[matrix]\nLR = [1]", 3, "`LR` would also set `env.LR` of this file"),
        ("labels.lr = 'a'\n[matrix]\nLR = [1]", 3, "`LR` would also set `labels.lr` of this file"),
        (f"[matrix]\nA = {list(range(101))}\nB = {list(range(100))}", 1, "these are 10,100 combinations"),
        ("image = 'a'\nimage = 'b'", 2, "not TOML: "),
        ("image = 'a'\n\nimage =", 3, "not TOML: "),
        ("[matrix]\n[matrix]", 2, "not TOML: "),
        (b"image = 'a'\nname = '\xff'", 2, "it is not UTF-8 text."),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str | bytes, line: int, message: str) -> None:
    """And with what would be right."""
    said = refusal(text)

    assert said.startswith(f"sweep.toml, line {line}: ")
    assert message in said


@pytest.mark.parametrize("text", ["env = {A = ['hush']}", "[env]\nA = 5552368", "env = ['hush']", "env = 'hush'"])
def test_no_message_has_a_value_of_the_environment(text: str) -> None:
    """It may be a secret."""
    said = refusal(text)

    assert "hush" not in said
    assert "5552368" not in said


@pytest.mark.parametrize(
    "text", [f"a = {'9' * 10_000}", f"a = {'[' * 5_000}{']' * 5_000}", "#" * (MOST_BYTES + 1)], ids=["9", "[", "#"]
)
def test_what_nobody_writes_by_hand_is_refused(text: str) -> None:
    """Without a traceback."""
    assert re.match(r"sweep\.toml(, line 1)?: ", refusal(text))


def test_ten_thousand_combinations_are_allowed() -> None:
    """No fewer, and no more."""
    file = read_sweep(f"[matrix]\nA = {list(range(10_000))}".encode(), "sweep.toml")

    assert len(file.matrix["A"]) == 10_000


keys = st.sampled_from(["a", "B", "1", "-", "_x", "a-b"])
values = st.sampled_from(
    ["1", '"a # b"', "[1,\n2]", "[\n# ]\n'[x]',\n\n]", '"""\n[a]\nb = 1\n"""', "'''\n'''", "{a.b = 1}"]
)


@settings(max_examples=30)
@given(st.dictionaries(keys, values, max_size=4), st.dictionaries(keys, values, max_size=4))
def test_lines_are_found_whatever_stands_between(outer: dict[str, str], inner: dict[str, str]) -> None:
    """Lists and texts of several lines, comments, and what looks like a header."""
    text = "# [x]\n\n"
    expected: dict[tuple[str, ...], int] = {}
    for name, value in outer.items():
        expected[f"k{name}",] = text.count("\n") + 1
        text += f"k{name} = {value} # comment\n"
    expected["in", "t"] = text.count("\n") + 1
    text += "[in.t] # ]\n"
    for name, value in inner.items():
        expected["in", "t", name] = text.count("\n") + 1
        text += f"\t{name} = {value}\n\n"
    lines = lines_of(text)

    assert {path: lines[path] for path in expected} == expected
