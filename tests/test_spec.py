"""The spec of a job: its limits are checked where it is made, and no value of its environment ever shows."""

from __future__ import annotations

import json
import pickle
import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nodus
from nodus._calls import submit_job

SECRET = "env-value-4f2a"

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)

SPECS = st.fixed_dictionaries(
    {"image": st.from_regex(r"[a-z0-9./:@_-]{1,60}", fullmatch=True)},
    optional={
        "command": st.none() | st.lists(TEXT, min_size=1, max_size=5),
        "gpu": st.sampled_from([*nodus.GpuType, *(gpu.value for gpu in nodus.GpuType)]),
        "gpu_count": st.integers(1, 8),
        "env": st.none() | st.dictionaries(TEXT.filter(lambda name: name and "=" not in name), TEXT, max_size=4),
        "max_runtime_seconds": st.integers(60, 172_800),
        "require_tiers": st.none() | st.lists(st.sampled_from([*nodus.SupplierKind, "tier3"]), max_size=3),
        "prefer_region": st.none() | st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True),
        "idempotency_key": st.none() | st.from_regex(r"[!-~]{1,128}", fullmatch=True),
        "name": st.none() | st.text(min_size=1, max_size=128).filter(str.isprintable),
        "labels": st.none()
        | st.dictionaries(
            st.from_regex(r"[a-z0-9]([a-z0-9_.-]{0,61}[a-z0-9])?", fullmatch=True),
            st.text(max_size=128).filter(str.isprintable),
            max_size=4,
        ),
    },
)

BAD = [
    {"image": ""},
    {"image": "a b"},
    {"image": "a\nb"},
    {"image": "a\0"},
    {"image": "x" * 513},
    {"image": None},
    {"image": 7},
    {"image": b"a"},
    {"command": "python train.py"},
    {"command": b"python"},
    {"command": []},
    {"command": [7]},
    {"command": ["a", None]},
    {"command": ["a\0"]},
    {"command": ["\ud800"]},
    {"command": 7},
    {"command": {"a": 1}},
    {"gpu": "h200"},
    {"gpu": "H100_80GB"},
    {"gpu": ""},
    {"gpu": None},
    {"gpu": 7},
    {"gpu": "h200"},
    {"gpu": nodus.GpuType("H 200")},
    {"gpu": nodus.GpuType("h200\n")},
    {"gpu_count": 0},
    {"gpu_count": 9},
    {"gpu_count": -1},
    {"gpu_count": 1.0},
    {"gpu_count": "1"},
    {"gpu_count": True},
    {"gpu_count": None},
    {"env": {"": "a"}},
    {"env": {"A=B": "a"}},
    {"env": {"A\0": "a"}},
    {"env": {7: "a"}},
    {"env": {"A": 7}},
    {"env": {"A": None}},
    {"env": {"A": b"a"}},
    {"env": {"A": "\0"}},
    {"env": {"A": "\ud800"}},
    {"env": ["A=B"]},
    {"env": "A=B"},
    {"max_runtime_seconds": 59},
    {"max_runtime_seconds": 172_801},
    {"max_runtime_seconds": 3600.0},
    {"max_runtime_seconds": "3600"},
    {"max_runtime_seconds": None},
    {"require_tiers": "tier3"},
    {"require_tiers": ["tier9"]},
    {"require_tiers": [7]},
    {"require_tiers": 7},
    {"prefer_region": ""},
    {"prefer_region": 7},
    {"prefer_region": "\0"},
    {"idempotency_key": ""},
    {"idempotency_key": "x" * 129},
    {"idempotency_key": "a\r\nX-Evil: 1"},
    {"idempotency_key": "clé"},
    {"idempotency_key": 7},
    {"name": ""},
    {"name": "x" * 129},
    {"name": "a\nb"},
    {"name": "a\tb"},
    {"name": "a\0"},
    {"name": "a\u202eb"},
    {"name": "\ud800"},
    {"name": 7},
    {"name": b"a"},
    {"labels": []},
    {"labels": "team=search"},
    {"labels": {f"k{number}": "" for number in range(17)}},
    {"labels": {"": "x"}},
    {"labels": {"Team": "x"}},
    {"labels": {"team-": "x"}},
    {"labels": {"a:b": "x"}},
    {"labels": {"x" * 64: "x"}},
    {"labels": {7: "x"}},
    {"labels": {"team": None}},
    {"labels": {"team": 7}},
    {"labels": {"team": "x" * 129}},
    {"labels": {"team": "a\nb"}},
    {"labels": {"team": "\ud800"}},
    {"nonsense": 1},
]


def refusal_of(**changes: Any) -> nodus.ValidationError:
    """The error that a spec gives when some of its fields are these."""
    with pytest.raises(nodus.ValidationError) as caught:
        nodus.JobSpec(**{"image": "i", **changes})
    return caught.value


def test_defaults_are_the_manuals() -> None:
    """Only the image has no default."""
    spec = nodus.JobSpec(image="ghcr.io/acme/train:v3")

    assert spec.model_dump() == {
        "image": "ghcr.io/acme/train:v3",
        "command": None,
        "gpu": nodus.GpuType.H100_80GB,
        "gpu_count": 1,
        "env": None,
        "max_runtime_seconds": 3600,
        "require_tiers": None,
        "prefer_region": None,
        "idempotency_key": None,
        "name": None,
        "labels": None,
        "max_cost_usd": None,
        "queue_timeout_seconds": None,
    }
    with pytest.raises(nodus.ValidationError, match="`image`"):
        nodus.JobSpec()  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "edge",
    [
        {"gpu_count": 1},
        {"gpu_count": 8},
        {"max_runtime_seconds": 60},
        {"max_runtime_seconds": 172_800},
        {"idempotency_key": "x"},
        {"idempotency_key": "x" * 128},
        {"idempotency_key": "a b"},
        {"name": "x"},
        {"name": "\U0001f600" * 128},
        {"name": "nightly: 夜間 ночь ليل #7"},
        {"labels": {}},
        {"labels": {"team": "search", "gpu-test": "", "a.b_c-9": "夜間: ليل", "x" * 63: "\U0001f600" * 128}},
        {"labels": {f"k{number}": "" for number in range(16)}},
        {"command": ["a", "", "-x"]},
        {"command": ("a", "b")},
        {"env": {}},
        {"env": {"A": ""}},
        {"require_tiers": []},
        {"require_tiers": ("tier3",)},
        {"image": "x" * 512},
    ],
)
def test_the_limits_belong_to_what_is_allowed(edge: dict[str, Any]) -> None:
    """The first and the last value are accepted."""
    nodus.JobSpec(**{"image": "i", **edge})


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_what_is_outside_the_limits_is_refused(bad: dict[str, Any]) -> None:
    """The error is the SDK's own, names the field, and does not contain pydantic's."""
    error = refusal_of(**bad)
    field = next(iter(bad))

    assert error.code == (
        "invalid_idempotency_key" if field == "idempotency_key" and bad[field] != 7 else "invalid_spec"
    )
    assert f"`{field}" in error.message
    assert (error.status_code, error.attempts, error.payload) == (None, 0, None)
    assert error.__cause__ is None
    assert error.__context__ is None


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_bad_input_never_reaches_the_network(bad: dict[str, Any]) -> None:
    """`run` makes a spec before it sends anything."""
    sent: list[object] = []

    class Recorder:
        def send(self, request: Any, *, follow_redirects: bool) -> Any:
            sent.append(request)
            raise AssertionError("nothing was to be sent")

    with nodus.Client("k", http_client=Recorder()) as client, pytest.raises((nodus.ValidationError, TypeError)):
        client.run(**{"image": "i", **bad})

    assert sent == []


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_no_value_of_the_environment_shows_in_an_error(bad: dict[str, Any]) -> None:
    """It shows neither in the text, the traceback and the context nor in the pickle."""
    env = {"TOKEN": SECRET}
    if isinstance(bad.get("env"), dict):
        env = {**env, **bad["env"]}
    error = refusal_of(
        **{**bad, "env": env if not isinstance(bad.get("env"), (str, list)) else [f"TOKEN={SECRET}"]}
        if bad.get("env") != {}
        else {}
    )
    shown = "".join(traceback.format_exception(error)) + repr(vars(error)) + repr(pickle.dumps(error))

    assert SECRET not in shown


@pytest.mark.parametrize(
    "env", [{"TOKEN": [SECRET]}, SECRET, [SECRET], {"TOKEN": SECRET, "A": 7}, {"TOKEN": SECRET + "\0"}]
)
def test_a_bad_environment_is_refused_without_being_shown(env: Any) -> None:
    """The error names the variable alone."""
    error = refusal_of(env=env)

    assert SECRET not in "".join(traceback.format_exception(error))
    assert "`env`" in error.message


def test_a_spec_does_not_show_what_may_be_secret() -> None:
    """Neither the environment nor the command is in its `repr`."""
    spec = nodus.JobSpec(image="i", env={"TOKEN": SECRET}, command=["train", "--token", SECRET])

    assert SECRET not in repr(spec) + str(spec)
    assert "image='i'" in repr(spec)


@pytest.mark.parametrize(
    ("gpu", "nearest"),
    [
        ("h100", "h100_80gb"),
        ("H100-80GB", "h100_80gb"),
        ("H100_80GB", "h100_80gb"),
        ("a100", "a100_80gb"),
        ("a100_40", "a100_40gb"),
        ("A100 40GB", "a100_40gb"),
        ("l40", "l40s"),
        ("a10", "a100_80gb"),
        ("a10gg", "a10g"),
    ],
)
def test_an_unknown_gpu_is_refused_with_the_nearest_match(gpu: str, nearest: str) -> None:
    """The error lists all known models too."""
    message = refusal_of(gpu=gpu).message

    assert f"did you mean {nearest!r}?" in message
    assert all(known.value in message for known in nodus.GpuType)


def test_a_gpu_that_this_version_does_not_know_can_be_asked_for() -> None:
    """As a `GpuType`, so that it is no slip of the pen; the server says whether somebody offers it."""
    spec = nodus.JobSpec(image="i", gpu=nodus.GpuType("rtx_4090"))

    assert (spec.gpu, spec.gpu.is_known) == ("rtx_4090", False)
    assert json.loads(spec.model_dump_json())["gpu"] == "rtx_4090"
    assert nodus.JobSpec(**spec.model_dump()) == spec
    assert "nodus.GpuType(" in refusal_of(gpu="rtx_4090").message


def test_several_mistakes_are_told_at_once() -> None:
    """The error lists all of them."""
    message = refusal_of(image="", gpu="h200", gpu_count=0).message

    assert all(f"`{field}`" in message for field in ("image", "gpu", "gpu_count"))


def test_what_is_missing_or_misspelt_is_named() -> None:
    """The error is the same kind as for invalid values."""
    with pytest.raises(nodus.ValidationError) as caught:
        nodus.JobSpec.model_validate({"imag": "i"})

    assert caught.value.message == "`image` is missing; `imag` is not a field of a spec."


@pytest.mark.parametrize("field", ["image", "gpu_count", "env"])
def test_a_spec_does_not_change(field: str) -> None:
    """It cannot become invalid after it was checked."""
    spec = nodus.JobSpec(image="i")

    with pytest.raises(nodus.ValidationError, match="immutable") as set_it:
        setattr(spec, field, SECRET)
    with pytest.raises(nodus.ValidationError, match="immutable"):
        delattr(spec, field)

    assert SECRET not in "".join(traceback.format_exception(set_it.value)).replace("setattr(spec, field, SECRET)", "")
    assert spec == nodus.JobSpec(image="i")


@pytest.mark.parametrize(
    "make",
    [
        nodus.JobSpec.model_validate,
        nodus.JobSpec.model_validate_strings,
        lambda fields: nodus.JobSpec.model_validate_json(json.dumps(fields)),
    ],
)
def test_a_spec_can_be_made_from_data(make: Any) -> None:
    """Mappings and JSON are checked by the same rules."""
    assert make({"image": "i", "gpu": "l40s"}) == nodus.JobSpec(image="i", gpu="l40s")
    with pytest.raises(nodus.ValidationError):
        make({"image": "i", "gpu": "h200"})


def test_a_mistake_in_the_json_of_a_spec_is_ours_to_tell() -> None:
    """The error is the SDK's own, not pydantic's."""
    with pytest.raises(nodus.ValidationError) as caught:
        nodus.JobSpec.model_validate_json("{")

    assert caught.value.code == "invalid_spec"


@given(fields=SPECS)
def test_every_spec_within_the_limits_is_sent_as_it_is(fields: dict[str, Any]) -> None:
    """The body has what was given, by value, and the defaults of what was not."""
    spec = nodus.JobSpec(**fields)

    body = json.loads(submit_job(spec).body)
    key = body.pop("idempotency_key")
    given_key = fields.pop("idempotency_key", None)

    assert given_key in (None, key)
    assert body == {
        "gpu": "h100_80gb",
        "gpu_count": 1,
        "max_runtime_seconds": 3600,
        **json.loads(json.dumps({name: value for name, value in fields.items() if value is not None})),
    }


@given(fields=SPECS)
def test_a_spec_survives_a_round_trip(fields: dict[str, Any]) -> None:
    """Both JSON and pickle preserve it."""
    spec = nodus.JobSpec(**fields)

    assert nodus.JobSpec.model_validate_json(spec.model_dump_json()) == spec
    assert pickle.loads(pickle.dumps(spec)) == spec


@given(
    fields=st.dictionaries(
        st.sampled_from([*nodus.JobSpec.model_fields, "other"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.text(max_size=3)),
    )
)
def test_any_arguments_give_a_spec_or_our_own_error(fields: dict[str, Any]) -> None:
    """The constructor raises nothing else."""
    assert spec_or_code(fields) in ("a spec", "invalid_spec", "invalid_idempotency_key")


def spec_or_code(fields: dict[str, Any]) -> str:
    """What a constructor call comes to."""
    try:
        nodus.JobSpec(**fields)
    except nodus.ValidationError as error:
        return error.code
    return "a spec"


@pytest.mark.parametrize("amount", [1, 0.5, 0.000001, 2.35, 1e9])
def test_a_ceiling_is_sent_as_it_was_given(amount: float) -> None:
    """To the micro-dollar."""
    assert nodus.JobSpec(image="x", max_cost_usd=amount).model_dump()["max_cost_usd"] == amount


@pytest.mark.parametrize("amount", [0, -1, 1e-7, 0.0000015, 1e9 + 1, float("nan"), float("inf"), True, "5"])
def test_what_is_no_ceiling_is_refused(amount: object) -> None:
    """Before anything is sent, and not rounded."""
    with pytest.raises(nodus.ValidationError, match="`max_cost_usd` must be a number above 0"):
        nodus.JobSpec(image="x", max_cost_usd=amount)  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [59, 604_801, 60.5, "60"])
def test_a_queue_timeout_is_a_minute_to_a_week(seconds: object) -> None:
    """In whole seconds."""
    with pytest.raises(nodus.ValidationError, match="`queue_timeout_seconds`"):
        nodus.JobSpec(image="x", queue_timeout_seconds=seconds)  # type: ignore[arg-type]
