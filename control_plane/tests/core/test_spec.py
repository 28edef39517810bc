"""What a submission may hold, and what refusals say of it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus_core.spec import (
    ECHOED,
    FIELDS,
    FILTERS,
    STORED,
    TOLD,
    InvalidSpec,
    columns_of,
    echoed,
    is_idempotency_key,
    parse_spec,
    told,
)
from nodus_ledger.database.schema import jobs

SECRET = "s3cr3t-value-of-somebody"
GOOD: dict[str, Any] = {"image": "ghcr.io/acme/train:v3", "gpu": "h100_80gb"}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from([*FIELDS])


def test_defaults_are_the_manuals() -> None:
    """Image and GPU are all that a job needs to say."""
    spec = parse_spec(GOOD)

    assert (spec.gpu_count, spec.max_runtime_seconds) == (1, 3600)
    assert (spec.command, dict(spec.env), spec.require_tiers, spec.prefer_region) == (None, {}, (), None)


@given(st.dictionaries(fields, json_values))
def test_any_payload_is_accepted_or_refused_clearly(changes: dict[str, Any]) -> None:
    """Nothing but `InvalidSpec` comes out, and what is accepted has a canonical form."""
    try:
        spec = parse_spec({**GOOD, **changes})
    except InvalidSpec:
        return

    assert spec.canonical() == parse_spec({**GOOD, **changes}).canonical()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": None}, "`image` is required"),
        ({"image": ""}, "`image` must be a string of 1 to 512"),
        ({"image": "a b"}, "without spaces"),
        ({"image": "a" * 513}, "1 to 512"),
        ({"gpu": None}, "`gpu` is required"),
        ({"gpu": 5}, "`gpu` must be a GPU model"),
        ({"gpu": "H100"}, "`gpu` must be a GPU model such as 'h100_80gb'"),
        ({"gpu": "a" * 65}, "1 to 64 lower-case letters"),
        ({"gpu": "l4\n"}, "`gpu` must be a GPU model"),
        ({"gpu_count": 0}, "1 to 8"),
        ({"gpu_count": 9}, "1 to 8"),
        ({"gpu_count": True}, "integer"),
        ({"gpu_count": 1.0}, "integer"),
        ({"max_runtime_seconds": 59}, "60 to 172800"),
        ({"max_runtime_seconds": 172_801}, "60 to 172800"),
        ({"require_tiers": "tier3"}, "list of hyperscaler, neocloud, own, tier3"),
        ({"require_tiers": ["tier9"]}, "list of"),
        ({"prefer_region": ""}, "1 to 128"),
        ({"name": ""}, "`name` must be a string of 1 to 128 printable"),
        ({"name": "x" * 129}, "1 to 128 printable"),
        ({"name": "a\nb"}, "1 to 128 printable"),
        ({"name": "a\0"}, "1 to 128 printable"),
        ({"name": "\ud800"}, "1 to 128 printable"),
        ({"name": "a\u202eb"}, "1 to 128 printable"),
        ({"name": 7}, "1 to 128 printable"),
        ({"labels": []}, "`labels` must be an object of at most 16"),
        ({"labels": {f"k{number}": "" for number in range(17)}}, "`labels` must be an object of at most 16"),
        ({"labels": {"": "x"}}, "`labels` must have keys of 1 to 63"),
        ({"labels": {"x" * 64: "x"}}, "`labels` must have keys of 1 to 63"),
        ({"labels": {"Team": "x"}}, "`labels` must have keys of 1 to 63"),
        ({"labels": {"-team": "x"}}, "letter or digit at either end"),
        ({"labels": {"team.": "x"}}, "letter or digit at either end"),
        ({"labels": {"team\n": "x"}}, "letter or digit at either end"),
        ({"labels": {"a:b": "x"}}, "letter or digit at either end"),
        ({"labels": {"team": None}}, r"`labels\['team'\]` must be a string of at most 128 printable"),
        ({"labels": {"team": 7}}, r"`labels\['team'\]` must be"),
        ({"labels": {"team": "x" * 129}}, r"`labels\['team'\]` must be"),
        ({"labels": {"team": "a\nb"}}, r"`labels\['team'\]` must be"),
        ({"labels": {"team": "\ud800"}}, r"`labels\['team'\]` must be"),
        ({"command": "python train.py"}, "`command` must be a list"),
        ({"command": []}, "at least one string"),
        ({"command": ["a", "b\0"]}, r"`command\[1\]` must not contain a NUL"),
        ({"command": ["\ud800"]}, "lone surrogate"),
        ({"env": []}, "`env` must be an object"),
        ({"env": {"": "x"}}, "not empty"),
        ({"env": {"A=B": "x"}}, "no '='"),
        ({"env": {"A": 1}}, r"`env\['A'\]` must be a string"),
        ({"env": {"A": "x\0"}}, r"`env\['A'\]` must not contain a NUL"),
        ({"prefered_region": "eu"}, "Did you mean `prefer_region`?"),
    ],
)
def test_a_payload_outside_its_limits_is_told_the_rule(changes: dict[str, Any], message: str) -> None:
    """One good payload, one thing spoilt each time."""
    with pytest.raises(InvalidSpec, match=message):
        parse_spec({**GOOD, **changes})


@pytest.mark.parametrize("payload", [None, [], "text", 5, [GOOD]])
def test_what_is_no_object_is_no_spec(payload: object) -> None:
    """A list of jobs is not a job."""
    with pytest.raises(InvalidSpec, match="JSON object"):
        parse_spec(payload)


@pytest.mark.parametrize(
    "changes",
    [
        {"image": f"{SECRET} {SECRET}"},
        {"gpu": f"{SECRET}-"},
        {"gpu_count": SECRET},
        {"env": SECRET},
        {"env": {"TOKEN": [SECRET]}},
        {"env": {"TOKEN": f"{SECRET}\0"}},
        {"env": {f"A={SECRET}": "x"}},
        {"env": {f"{SECRET}\0": "x"}},
        {"command": SECRET},
        {"command": [SECRET, f"{SECRET}\0"]},
        {"require_tiers": [SECRET]},
        {"prefer_region": SECRET * 20},
        {"name": SECRET * 20},
        {"labels": {"token": SECRET * 20}},
        {"labels": {SECRET * 20: "x"}},
        {f"{SECRET}": "x"},
    ],
)
def test_no_refusal_shows_a_value(changes: dict[str, Any]) -> None:
    """A secret put in the wrong place does not end up in a log of errors."""
    with pytest.raises(InvalidSpec) as caught:
        parse_spec({**GOOD, **changes})

    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)


def test_a_spec_shows_neither_command_nor_env() -> None:
    """Both hold secrets."""
    shown = repr(parse_spec({**GOOD, "env": {"TOKEN": SECRET}, "command": ["login", SECRET]}))

    assert SECRET not in shown


@pytest.mark.parametrize(
    "same",
    [
        {"gpu_count": 1},
        {"gpu_count": None, "env": None},
        {"env": {}, "require_tiers": []},
        {"idempotency_key": "k"},
        {"max_runtime_seconds": 3600, "prefer_region": None},
        {"name": None},
        {"labels": None},
        {"labels": {}},
    ],
)
def test_saying_a_default_changes_nothing(same: dict[str, Any]) -> None:
    """A retry that spells out its defaults is the same submission; the key is no part of it."""
    assert parse_spec({**GOOD, **same}).canonical() == parse_spec(GOOD).canonical()


@pytest.mark.parametrize(
    "other",
    [
        {"gpu_count": 2},
        {"env": {"A": ""}},
        {"command": ["x"]},
        {"prefer_region": "eu"},
        {"gpu": "l40s"},
        {"name": "a"},
        {"labels": {"a": ""}},
    ],
)
def test_another_job_has_another_form(other: dict[str, Any]) -> None:
    """What runs, and where it may, is all part of it."""
    assert parse_spec({**GOOD, **other}).canonical() != parse_spec(GOOD).canonical()


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (
            GOOD,
            '{"command":null,"env":{},"gpu":"h100_80gb","gpu_count":1,"image":"ghcr.io/acme/train:v3",'
            '"max_runtime_seconds":3600,"prefer_region":null,"require_tiers":[]}',
        ),
        (
            {
                "image": "a/b",
                "gpu": "l40s",
                "command": ["train", "--name", "é"],
                "gpu_count": 8,
                "env": {"B": "2", "A": "1"},
                "max_runtime_seconds": 64_800,
                "require_tiers": ["tier3", "neocloud"],
                "prefer_region": "eu",
                "idempotency_key": "k",
            },
            '{"command":["train","--name","é"],"env":{"A":"1","B":"2"},"gpu":"l40s","gpu_count":8,"image":"a/b",'
            '"max_runtime_seconds":64800,"prefer_region":"eu","require_tiers":["neocloud","tier3"]}',
        ),
    ],
)
def test_the_canonical_text_is_that_of_every_version_before(payload: dict[str, Any], text: str) -> None:
    """To the byte: a retry after an upgrade is recognised by it."""
    assert parse_spec(payload).canonical().decode() == text


@pytest.mark.parametrize("name", ["x", "\U0001f600" * 128, "nightly: 夜間 ночь ليل #7", " "])
def test_a_name_is_up_to_128_printable_characters_of_any_script(name: str) -> None:
    """Characters, not bytes; it is kept as it came."""
    assert parse_spec({**GOOD, "name": name}).name == name


def test_a_name_is_part_of_the_canonical_text_where_it_was_given() -> None:
    """And only there, so that the texts of before stay what they were."""
    assert parse_spec({**GOOD, "name": "夜間"}).canonical().decode() == (
        '{"command":null,"env":{},"gpu":"h100_80gb","gpu_count":1,"image":"ghcr.io/acme/train:v3",'
        '"max_runtime_seconds":3600,"name":"夜間","prefer_region":null,"require_tiers":[]}'
    )


def test_labels_are_up_to_16_pairs_and_kept_as_they_came() -> None:
    """A value may be empty, and of any script; the column is one text whatever the order."""
    labels = {"team": "search", "gpu-test": "", "a.b_c-9": "夜間: ночь", "9": "\U0001f600" * 128, "x" * 63: "y"}
    full = {f"k{number}": "" for number in range(16)}
    spec = parse_spec({**GOOD, "labels": labels})
    column = spec.columns()["labels"]

    assert spec.labels == labels
    assert parse_spec({**GOOD, "labels": full}).labels == full
    assert told({"name": None, "labels": column}.__getitem__)["labels"] == labels
    assert parse_spec({**GOOD, "labels": dict(reversed(labels.items()))}).columns()["labels"] == column
    assert parse_spec(GOOD).columns()["labels"] is None
    assert told({"name": None, "labels": None}.__getitem__)["labels"] == {}


def test_labels_are_part_of_the_canonical_text_where_they_were_given() -> None:
    """In one order."""
    assert parse_spec({**GOOD, "labels": {"team": "夜", "a": ""}}).canonical().decode() == (
        '{"command":null,"env":{},"gpu":"h100_80gb","gpu_count":1,"image":"ghcr.io/acme/train:v3",'
        '"labels":{"a":"","team":"夜"},"max_runtime_seconds":3600,"prefer_region":null,"require_tiers":[]}'
    )


def test_a_row_of_the_ledger_from_before_there_were_names_has_none() -> None:
    """Its columns are what they were."""
    recorded = parse_spec(GOOD).recorded()
    del recorded["name"], recorded["labels"]

    assert columns_of(recorded) == tuple(parse_spec(GOOD).columns().values())
    del recorded["image"]
    with pytest.raises(KeyError):
        columns_of(recorded)


@pytest.mark.parametrize(
    ("amount", "micros"),
    [(1, 10**6), (0.5, 500_000), (0.000001, 1), (2.35, 2_350_000), (1e9, 10**15), (999_999_999.999999, None)],
)
def test_a_ceiling_is_exact_to_the_micro_dollar(amount: float, micros: int | None) -> None:
    """By what the number says in its shortest text, not by what a double can hold; it is echoed as it came."""
    spec = parse_spec({**GOOD, "max_cost_usd": amount})

    assert spec.max_cost_micros == (round(amount * 10**6) if micros is None else micros)
    assert echoed(SimpleNamespace(**spec.columns()))["max_cost_usd"] == amount
    assert f'"max_cost_usd":{spec.max_cost_micros},' in spec.canonical().decode()


@given(st.integers(1, 10**15))
def test_every_amount_of_micro_dollars_has_its_json_number(micros: int) -> None:
    """There and back."""
    assert parse_spec({**GOOD, "max_cost_usd": json.loads(json.dumps(micros / 10**6))}).max_cost_micros == micros


@pytest.mark.parametrize(
    "amount", [0, -1, 1e-7, 0.0000015, 1e9 + 1, float("inf"), float("nan"), True, "5", [], 10**400]
)
def test_what_is_no_ceiling_is_refused(amount: object) -> None:
    """And not rounded."""
    with pytest.raises(InvalidSpec, match="`max_cost_usd` must be a number above 0"):
        parse_spec({**GOOD, "max_cost_usd": amount})


@pytest.mark.parametrize("seconds", [59, 604_801, 60.0, True, "60"])
def test_a_queue_timeout_is_a_minute_to_a_week(seconds: object) -> None:
    """In whole seconds."""
    with pytest.raises(InvalidSpec, match="`queue_timeout_seconds` must be an integer from 60 to 604800"):
        parse_spec({**GOOD, "queue_timeout_seconds": seconds})


def test_a_field_is_either_secret_or_stored_in_a_column() -> None:
    """And only what is stored is echoed, told or a filter."""
    secrets = {name for name, each in FIELDS.items() if each.is_secret}

    assert secrets == {"command", "env"}
    assert secrets.isdisjoint(STORED)
    assert {*TOLD, *FILTERS} <= set(STORED)
    assert set(ECHOED) - set(STORED) == {"max_cost_usd"}
    assert {*STORED} <= {column.name for column in jobs.columns}


def test_a_schema_says_which_defaults_are_filled_in() -> None:
    """The same as are."""
    spec = parse_spec(GOOD)

    for name, each in FIELDS.items():
        assert "default" not in each.schema or each.schema["default"] == getattr(spec, name)


def test_columns_are_the_same_from_a_spec_and_from_the_ledgers_row() -> None:
    """So that one can be held against the other, after a round trip through JSON."""
    spec = parse_spec({**GOOD, "require_tiers": ["tier3", "neocloud"], "prefer_region": "eu", "gpu_count": 2})

    assert columns_of(json.loads(json.dumps(spec.recorded()))) == tuple(spec.columns().values())
    assert spec.columns()["require_tiers"] == "neocloud,tier3"


def test_tiers_are_a_set() -> None:
    """Their order and number say nothing."""
    one = parse_spec({**GOOD, "require_tiers": ["tier3", "neocloud", "tier3"]})

    assert one.canonical() == parse_spec({**GOOD, "require_tiers": ["neocloud", "tier3"]}).canonical()


@given(st.text(max_size=140))
def test_an_idempotency_key_is_printable_ascii(text: str) -> None:
    """1 to 128 characters, from space to tilde."""
    assert is_idempotency_key(text) == (1 <= len(text) <= 128 and all(" " <= mark <= "~" for mark in text))
