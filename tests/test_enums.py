"""The vocabularies of the protocol: the same on every Python, and open to values that do not exist yet."""

from __future__ import annotations

import copy
import json
import pickle

import pydantic
import pytest

import nodus
from nodus._enums import OpenStrEnum

VALUES = {
    nodus.GpuType: {
        "H100_80GB": "h100_80gb",
        "A100_80GB": "a100_80gb",
        "A100_40GB": "a100_40gb",
        "L40S": "l40s",
        "A10G": "a10g",
    },
    nodus.SupplierKind: {"HYPERSCALER": "hyperscaler", "TIER3": "tier3", "NEOCLOUD": "neocloud", "OWN": "own"},
    nodus.JobStatus: {
        "QUEUED": "queued",
        "PLACED": "placed",
        "RUNNING": "running",
        "COMPLETED": "completed",
        "FAILED": "failed",
        "CANCELLED": "cancelled",
    },
    nodus.PrincipalKind: {"HUMAN": "human", "AGENT": "agent", "SERVICE": "service"},
}

MEMBERS = [member for kind in VALUES for member in kind]
UNKNOWN = [kind("brand_new") for kind in VALUES]


@pytest.mark.parametrize("kind", VALUES)
def test_names_and_values_are_the_manuals(kind: type[OpenStrEnum]) -> None:
    """The manual gives the name in Python and the value on the wire."""
    assert {member.name: member.value for member in kind} == VALUES[kind]


@pytest.mark.parametrize("member", MEMBERS, ids=str)
def test_a_member_prints_as_its_name(member: OpenStrEnum) -> None:
    """`print(job.status)` shows `JobStatus.COMPLETED` on every Python, and so does an f-string."""
    shown = f"{type(member).__name__}.{member.name}"

    assert str(member) == shown
    assert f"{member}" == shown
    assert f"{member:>40}" == shown.rjust(40)
    assert "%s" % member == shown  # noqa: UP031  # the third way to format is meant
    assert repr(member) == f"<{shown}: {member.value!r}>"


@pytest.mark.parametrize("member", [*MEMBERS, *UNKNOWN], ids=str)
def test_a_member_is_its_string(member: OpenStrEnum) -> None:
    """It equals its wire value, hashes like it and goes into JSON as it."""
    assert member == member.value
    assert member.value == member
    assert hash(member) == hash(member.value)
    assert {member.value: 1}[member] == 1
    assert json.dumps(member) == f'"{member.value}"'
    assert member != member.value + "x"


@pytest.mark.parametrize("member", MEMBERS, ids=str)
def test_a_known_value_gives_the_member_itself(member: OpenStrEnum) -> None:
    """There is one object for each, after pickling and copying too."""
    assert type(member)(member.value) is member
    assert pickle.loads(pickle.dumps(member)) is member
    assert copy.copy(member) is member
    assert copy.deepcopy(member) is member
    assert member.is_known


@pytest.mark.parametrize("kind", VALUES)
def test_an_unknown_value_is_kept_as_it_came(kind: type[OpenStrEnum]) -> None:
    """It is of its class, prints like a member, and says that it is not known."""
    unknown = kind("brand_new")

    assert isinstance(unknown, kind)
    assert unknown.value == "brand_new"
    assert not unknown.is_known
    assert str(unknown) == f"{unknown}" == f"{kind.__name__}.brand_new"
    assert repr(unknown) == f"<{kind.__name__}.brand_new: 'brand_new'>"
    assert unknown == kind("brand_new")
    assert unknown != kind("brand_old")
    assert unknown not in list(kind)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", VALUES)
def test_an_unknown_value_pickles(kind: type[OpenStrEnum], protocol: int) -> None:
    """It can cross to another process, and be copied."""
    unknown = kind("brand_new")

    for twin in (pickle.loads(pickle.dumps(unknown, protocol)), copy.copy(unknown), copy.deepcopy(unknown)):
        assert type(twin) is kind
        assert twin == unknown
        assert not twin.is_known


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("value", [None, 7, b"queued", ["queued"], {"a": 1}])
def test_only_strings_are_values(kind: type[OpenStrEnum], value: object) -> None:
    """Unknown values come from newer servers, and those are strings."""
    with pytest.raises(ValueError, match="is not a valid"):
        kind(value)


def test_an_unknown_value_goes_through_pydantic_and_back() -> None:
    """A user's own models may hold what the SDK gives."""
    adapter = pydantic.TypeAdapter(nodus.JobStatus)

    status = adapter.validate_json('"paused"')

    assert status == nodus.JobStatus("paused")
    assert adapter.dump_json(status) == b'"paused"'
    assert adapter.dump_python(status) == "paused"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("queued", False),
        ("placed", False),
        ("running", False),
        ("completed", True),
        ("failed", True),
        ("cancelled", True),
        ("paused", False),
    ],
)
def test_the_last_three_statuses_are_terminal(status: str, expected: bool) -> None:
    """An unknown status is not terminal."""
    assert nodus.JobStatus(status).is_terminal is expected
