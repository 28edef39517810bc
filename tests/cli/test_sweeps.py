"""What jobs a sweep consists of."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodus._arguments import idempotency_key
from nodus._cli.sweeps import MAX_KEY_LENGTH, count_of, derived_key, expand, filled, merged

names = st.sampled_from(["LR", "SEED", "X", "A_1", "BATCH"])
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6)
matrices = st.dictionaries(names, st.lists(texts, min_size=1, max_size=4, unique=True), max_size=4)


def test_each_combination_is_a_job() -> None:
    """Its values are in the environment, in the labels in lower case, and in the command; all else is shared."""
    fields: dict[str, Any] = {
        "image": "a",
        "command": ["train", "--lr={LR}", "{LR}-{SEED}"],
        "env": {"MODE": "fast"},
        "labels": {"team": "search"},
        "idempotency_key": "k",
    }
    first, second = expand(fields, {"LR": ["0.1"], "SEED": ["1", "2"]})

    assert first.fields == {
        "image": "a",
        "command": ["train", "--lr=0.1", "0.1-1"],
        "env": {"MODE": "fast", "LR": "0.1", "SEED": "1"},
        "labels": {"team": "search", "lr": "0.1", "seed": "1"},
        "idempotency_key": first.idempotency_key,
    }
    assert (second.title, second.fields["command"]) == ("LR=0.1 SEED=2", ["train", "--lr=0.1", "0.1-2"])
    assert fields["env"] == {"MODE": "fast"}


def test_without_a_matrix_there_is_one_job_under_the_key_itself() -> None:
    """Nothing is added to it."""
    fields = {"image": "a", "command": ["{LR}"], "idempotency_key": "k"}
    (job,) = expand(fields, {})

    assert job.fields == fields
    assert job.title == ""


@settings(max_examples=30)
@given(matrices)
def test_there_are_as_many_jobs_as_combinations_in_order(matrix: dict[str, list[str]]) -> None:
    """Each combination once, under a key of its own, and the last variable changes fastest."""
    jobs = expand({"idempotency_key": "k"}, matrix)

    assert len(jobs) == count_of(matrix) == math.prod(map(len, matrix.values()))
    assert [tuple(job.values.values()) for job in jobs] == list(itertools.product(*matrix.values()))
    assert len({job.idempotency_key for job in jobs}) == len(jobs)
    for job in jobs:
        assert {name: (job.fields.get("env") or {})[name] for name in matrix} == job.values


@settings(max_examples=30)
@given(st.lists(st.one_of(texts, st.sampled_from(["{", "}", "{LR}", "{SEED}", "{lr}", "{ LR }", "$LR", "{}"]))))
def test_only_the_names_of_variables_are_replaced(pieces: list[str]) -> None:
    """Other braces stay, and what a value itself has in braces is not looked at again."""
    argument = "".join(pieces)

    assert filled(argument, {}) == argument
    assert filled(argument, {"LR": "{LR}", "SEED": "{SEED}"}) == argument
    assert filled(argument, {"LR": "{SEED}", "SEED": "1"}) == argument.replace("{SEED}", "1").replace("{LR}", "{SEED}")


@settings(max_examples=30)
@given(st.dictionaries(names, texts, min_size=1, max_size=4), st.randoms())
def test_a_key_depends_on_the_values_and_not_on_their_order(values: dict[str, str], random: Any) -> None:
    """So lists can be reordered and extended, and what was submitted is found."""
    items = list(values.items())
    random.shuffle(items)
    key = derived_key("k" * MAX_KEY_LENGTH, dict(items))

    assert key == derived_key("k" * MAX_KEY_LENGTH, values)
    assert key != derived_key("j" * MAX_KEY_LENGTH, values)
    assert key != derived_key("k" * MAX_KEY_LENGTH, {**values, "AND": "1"})
    assert idempotency_key(key) == key


def test_keys_stay_what_they_are() -> None:
    """A later version must find what an earlier one has submitted."""
    assert derived_key("k", {"SEED": "1", "LR": "0.1"}) == "k-c2842575be285b29e8ae0f24e549ef76"


@pytest.mark.parametrize("given_env", [None, {"A": "2", "C": "3"}])
def test_options_take_the_place_of_fields(given_env: dict[str, str] | None) -> None:
    """Those that were given; variables and labels are added to those of the file."""
    fields = {"image": "a", "gpu_count": 2, "env": {"A": "1", "B": "1"}}

    assert merged(fields, {"image": None, "gpu_count": 4, "labels": {"x": ""}, "env": given_env}) == {
        "image": "a",
        "gpu_count": 4,
        "labels": {"x": ""},
        "env": {"A": "1", "B": "1"} | (given_env or {}),
    }
