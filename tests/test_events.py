"""Webhook deliveries: what is accepted, what is refused and under which code, and what the events hold."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import json
import pickle
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nodus

SECRET = "whsec_4a9e000000000000000000000000a1"
OTHER_SECRET = "whsec_0000000000000000000000000000ff"
NOW = 1_767_225_603
PATH = "/nodus"
EXTRAS: dict[str, tuple[type[nodus.WebhookEvent], dict[str, Any]]] = {
    "job.placed": (nodus.JobPlaced, {"estimated_cost_usd": 50.5}),
    "job.completed": (
        nodus.JobCompleted,
        {"cost_usd": 47.62, "supplier": "lambda", "region": "us-west-2", "duration_s": 3600.5},
    ),
    "job.failed": (
        nodus.JobFailed,
        {"error_code": "no_supplier", "error_message": "Nobody could.", "last_supplier": "lambda"},
    ),
    "job.cancelled": (nodus.JobCancelled, {"cost_usd": 0.25, "supplier": "lambda", "region": "us-west-2"}),
    "budget.threshold_reached": (
        nodus.BudgetThresholdReached,
        {"key_id": "k-1", "month_to_date_usd": 20.5, "monthly_spend_cap_usd": 25.0, "fraction": 0.8},
    ),
    "budget.exceeded": (
        nodus.BudgetExceeded,
        {"key_id": "k-1", "month_to_date_usd": 20.5, "monthly_spend_cap_usd": 25.0, "estimated_cost_usd": 9.5},
    ),
}


def body_of(kind: str = "job.completed", **data: object) -> bytes:
    """A delivery's body, as the control plane writes it."""
    envelope = {"id": "evt_1", "type": kind, "created_at": "2026-01-01T00:00:03.250Z", "data": data}
    return json.dumps(envelope).encode()


def header_for(body: bytes, *, secret: str = SECRET, ts: float = NOW, method: str = "POST", path: str = PATH) -> str:
    signed = nodus.sign_request(signing_secret=secret, method=method, path=path, body=body, now=ts)
    return signed["Nodus-Signature"]


def construct(body: bytes, header: str | None = None, **options: Any) -> nodus.WebhookEvent:
    """Construct an event from a good delivery, but for what is given."""
    options = {"signing_secret": SECRET, "path": PATH, "now": NOW, **options}
    return nodus.construct_event(body=body, signature_header=header_for(body) if header is None else header, **options)


def refused(code: str, body: bytes, header: str | None, **options: Any) -> None:
    """A delivery is refused with this code."""
    options = {"signing_secret": SECRET, "path": PATH, "now": NOW, **options}
    with pytest.raises(nodus.SignatureError) as caught:
        nodus.construct_event(body=body, signature_header=header, **options)

    assert caught.value.code == code
    assert caught.value.status_code is None
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("kind", EXTRAS)
def test_each_event_has_its_type_and_its_extras(kind: str) -> None:
    """The manual's table, with the job and the principal beside it."""
    made, extras = EXTRAS[kind]
    labels = {"team": "夜", "gpu-test": ""}
    data = {"job_id": "0198", "name": "夜間", "labels": labels, "principal_kind": "agent", **extras}

    event = construct(body_of(kind, **data))

    assert type(event) is made
    assert {name: getattr(event, name) for name in data} == data
    assert event.data == data
    assert (event.id, event.type) == ("evt_1", kind)
    assert event.created_at == datetime.datetime(2026, 1, 1, 0, 0, 3, 250_000, tzinfo=datetime.timezone.utc)
    assert event.principal_kind is nodus.PrincipalKind.AGENT


@pytest.mark.parametrize("kind", EXTRAS)
def test_extras_that_are_missing_or_odd_read_as_none(kind: str) -> None:
    """An older or a newer server says less or something else; what it said is kept in `data`."""
    made, extras = EXTRAS[kind]
    odd: dict[str, object] = {name: [1] for name in extras}

    for data in ({}, odd):
        event = construct(body_of(kind, **data))

        assert type(event) is made
        assert {getattr(event, name) for name in extras} == {None}
        assert event.data == data


@pytest.mark.parametrize("value", [True, "1", None, 10**400, float("nan"), float("inf"), {}])
def test_only_a_finite_number_is_an_amount(value: object) -> None:
    """A sum of amounts stays a number."""
    event = construct(body_of(cost_usd=value))

    assert isinstance(event, nodus.JobCompleted)
    assert event.cost_usd is None


def test_extra_fields_stay_in_data() -> None:
    """What this version has no name for is not lost."""
    event = construct(body_of(cost_usd=1, invoice={"id": 7}))

    assert event.data["invoice"] == {"id": 7}
    assert isinstance(event, nodus.JobCompleted)
    assert event.cost_usd == 1.0


def test_a_type_from_the_future_is_an_unknown_event() -> None:
    """It is verified, and its payload can be read."""
    event = construct(body_of("job.paused", job_id="0198", until="noon"))

    assert event == nodus.UnknownEvent(
        id="evt_1",
        type="job.paused",
        created_at=event.created_at,
        data={"job_id": "0198", "until": "noon"},
        job_id="0198",
    )


@pytest.mark.parametrize(
    "body", [b'{"type":"job.placed"}', b'{"type":"job.placed","id":7,"created_at":"noon","data":[]}']
)
def test_an_envelope_needs_only_its_type(body: bytes) -> None:
    """Every other member reads as None or empty if it is missing."""
    assert construct(body) == nodus.JobPlaced(type="job.placed")


def test_an_unknown_principal_is_kept() -> None:
    """As everywhere else in the SDK."""
    event = construct(body_of(principal_kind="robot"))

    assert event.principal_kind == "robot"
    assert event.principal_kind is not None
    assert not event.principal_kind.is_known


@pytest.mark.parametrize("kind", [*EXTRAS, "job.paused"])
def test_events_are_values(kind: str) -> None:
    """Frozen, equal to their like, usable in a set, and able to travel to a worker process."""
    event = construct(body_of(kind, job_id="0198"))

    assert pickle.loads(pickle.dumps(event)) == event
    assert {event, construct(body_of(kind, job_id="0198"))} == {event}
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.id = "evt_2"  # type: ignore[misc]


@pytest.mark.parametrize("header", [None, ""])
def test_a_header_that_is_missing_or_empty_is_missing(header: str | None) -> None:
    """There is nothing to verify."""
    refused("signature_missing", body_of(), header)


@pytest.mark.parametrize(
    "header",
    [
        " ",
        "v1=00",
        "v1=" + "0" * 64,
        f"ts={NOW}",
        "v1={mac},ts={ts},ts={ts}",
        "v1={mac},ts=+{ts}",
        "v1={mac},ts={ts},",
        "v1={mac},TS={ts}",
        "v1={mac},ts={ts},v1=x",
        "v1={mac},ts=" + "9" * 13,
        "v1={mac},ts=٣",
        "v1={mac},ts={ts}," + ",".join(["a=b"] * 15),
        "v1={mac},ts={ts},a=" + "b" * 1024,
        "v1={mac},ts={ts}" + ",v1={mac}" * 5,
        "\ud800",
    ],
)
def test_a_header_that_is_not_well_formed_is_malformed(header: str) -> None:
    """It is malformed even if its MAC would be right."""
    body = body_of()
    mac = header_for(body)[3:67]
    refused("signature_malformed", body, header.replace("{mac}", mac).replace("{ts}", str(NOW)))


def test_anything_else_that_was_signed_is_invalid() -> None:
    """The signature covers the body, the path and the method, under one secret."""
    body = body_of()
    refused("signature_invalid", body + b" ", header_for(body))
    refused("signature_invalid", body, header_for(body, path="/other"))
    refused("signature_invalid", body, header_for(body, method="PUT"))
    refused("signature_invalid", body, header_for(body, secret=OTHER_SECRET))
    refused("signature_invalid", body, header_for(body).replace(f"ts={NOW}", f"ts={NOW + 1}"))


@pytest.mark.parametrize("path", ["", "nodus", "/a?b", "/a#b", "/ü", "/a b", "/\ud800"])
def test_a_path_that_nobody_can_have_signed_is_invalid(path: str) -> None:
    """The path may come from the sender, so it is an invalid signature and no mistake of the program."""
    body = body_of()
    refused("signature_invalid", body, header_for(body), path=path)


def test_a_method_that_nobody_can_have_signed_is_invalid() -> None:
    """The method may come from the sender too."""
    body = body_of()
    refused("signature_invalid", body, header_for(body), method="P\ud800ST")

    assert not nodus.verify_webhook(
        body=body, signature_header=header_for(body), signing_secret=SECRET, method="P\ud800ST", path=PATH, now=NOW
    )


def test_the_method_may_be_in_lower_case() -> None:
    """It is signed in upper case."""
    body = body_of()

    assert construct(body, header_for(body), method="post").id == "evt_1"


@pytest.mark.parametrize(
    ("offset", "code"),
    [
        (-301, "signature_stale"),
        (-300, None),
        (0, None),
        (300, None),
        (301, "signature_future"),
        (-(10**8), "signature_stale"),
    ],
)
def test_the_tolerance_holds_in_both_directions(offset: int, code: str | None) -> None:
    """Five minutes, to the second."""
    body = body_of()
    header = header_for(body, ts=NOW + offset)

    if code is None:
        assert construct(body, header).id == "evt_1"
    else:
        refused(code, body, header)


@pytest.mark.parametrize("offset", [-3600, 3600])
def test_the_time_is_spoken_of_only_where_the_mac_is_right(offset: int) -> None:
    """Someone without the secret learns nothing about the clock."""
    body = body_of()

    refused("signature_invalid", body, header_for(body, secret=OTHER_SECRET, ts=NOW + offset))


def test_the_tolerance_can_be_chosen() -> None:
    """It is given in seconds."""
    body = body_of()
    refused("signature_stale", body, header_for(body, ts=NOW - 11), tolerance_seconds=10)

    assert construct(body, header_for(body, ts=NOW - 10), tolerance_seconds=10).id == "evt_1"


@pytest.mark.parametrize(
    "secrets", [[SECRET], (OTHER_SECRET, SECRET), [SECRET, OTHER_SECRET], {SECRET}, iter([OTHER_SECRET, SECRET])]
)
def test_several_secrets_may_be_right(secrets: Any) -> None:
    """While one is being rotated."""
    assert construct(body_of(), signing_secret=secrets).id == "evt_1"


def test_several_signatures_may_stand_in_a_header() -> None:
    """The sender's side of a rotation: one that is right suffices."""
    body = body_of()
    both = f"{header_for(body, secret=OTHER_SECRET)[:67]},{header_for(body)}"

    assert construct(body, both).id == "evt_1"
    assert construct(body, both, signing_secret=OTHER_SECRET).id == "evt_1"
    refused("signature_invalid", body, both, signing_secret="whsec_another")


@pytest.mark.parametrize("body", ["{}", {"type": "job.placed"}, None, [1]])
def test_a_body_that_was_parsed_is_a_mistake_of_the_program(body: Any) -> None:
    """The message says what to pass."""
    with pytest.raises(TypeError, match="pass the raw request body"):
        nodus.construct_event(body=body, signature_header="", signing_secret=SECRET, path=PATH)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_form_of_bytes_will_do(kind: Any) -> None:
    """Web frameworks differ in the type that they hand over."""
    body = body_of()

    assert construct(kind(body), header_for(body)).id == "evt_1"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"job.placed"', b"{}", b'{"type":7}', b'{"type":null}', b"\xff{}", b"[" * 100_000, b"1" * 5000],
)
def test_a_genuine_delivery_that_is_no_event_is_told_from_a_forged_one(body: bytes) -> None:
    """The signature was right, so it is the sender that is broken."""
    with pytest.raises(nodus.ValidationError) as caught:
        construct(body)

    assert caught.value.code == "invalid_event"


HOSTILE_HEADERS = st.one_of(
    st.text(),
    st.text(alphabet="v1ts=, 0123456789abcdef"),
    st.binary().map(lambda raw: raw.decode("latin-1")),
    st.lists(st.sampled_from(["v1=" + "0" * 64, "ts=1767225603", "v1=", "ts=", "x=y", " ", ""])).map(",".join),
)


@settings(deadline=None)
@given(header=st.none() | HOSTILE_HEADERS, body=st.binary(), path=st.text() | st.just(PATH), method=st.text())
def test_what_a_stranger_sends_is_refused_with_one_class_of_error(
    header: str | None, body: bytes, path: str, method: str
) -> None:
    """Whatever the header, body, path and method."""
    with pytest.raises(nodus.SignatureError):
        nodus.construct_event(
            body=body, signature_header=header, signing_secret=SECRET, method=method, path=path, now=NOW
        )

    assert not nodus.verify_webhook(
        body=body, signature_header=header, signing_secret=SECRET, method=method, path=path, now=NOW
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
ENVELOPES = st.fixed_dictionaries(
    {"type": st.sampled_from(list(EXTRAS)) | st.text()},
    optional={
        "id": JSON,
        "created_at": JSON,
        "data": JSON | st.dictionaries(st.sampled_from([n for _, extras in EXTRAS.values() for n in extras]), JSON),
    },
)


@settings(deadline=None)
@given(ENVELOPES)
def test_any_object_with_a_type_is_an_event(envelope: dict[str, Any]) -> None:
    """A genuine delivery never raises, whatever its members are."""
    event = construct(json.dumps(envelope).encode())

    assert event.type == envelope["type"]
    assert type(event) is EXTRAS.get(event.type, (nodus.UnknownEvent, {}))[0]


def test_a_delivery_that_was_accepted_is_not_accepted_again() -> None:
    """The same bytes with the same time are a replay, whichever of its signatures it carries."""
    guard = nodus.InMemoryReplayGuard()
    body = body_of()
    one, other = header_for(body), header_for(body, secret=OTHER_SECRET)
    secrets = [SECRET, OTHER_SECRET]
    construct(body, f"{one[:67]},{other}", signing_secret=secrets, replay_guard=guard)

    refused("signature_replayed", body, one, signing_secret=secrets, replay_guard=guard)
    refused("signature_replayed", body, other, signing_secret=secrets, replay_guard=guard)
    refused("signature_replayed", body, f"ts={NOW},x=y, {one[:67]}", signing_secret=secrets, replay_guard=guard)


def test_a_retry_of_the_sender_is_no_replay() -> None:
    """It is signed afresh: an event whose handling failed comes again, under its id."""
    guard = nodus.InMemoryReplayGuard()
    body = body_of()
    construct(body, header_for(body, ts=NOW), replay_guard=guard)

    again = construct(body, header_for(body, ts=NOW + 30), now=NOW + 30, replay_guard=guard)

    assert again.id == "evt_1"


def test_only_genuine_deliveries_are_remembered() -> None:
    """What is refused for another reason leaves no trace, and can be accepted once it is right."""
    guard = nodus.InMemoryReplayGuard()
    body = body_of()
    refused("signature_invalid", body, header_for(body, secret=OTHER_SECRET), replay_guard=guard)
    refused("signature_stale", body, header_for(body, ts=NOW - 400), replay_guard=guard)
    with pytest.raises(nodus.ValidationError):
        construct(b"[]", replay_guard=guard)

    assert len(guard) == 0
    assert construct(body, replay_guard=guard).id == "evt_1"


def test_a_delivery_from_the_edge_of_the_future_is_remembered_until_it_is_stale() -> None:
    """Twice the tolerance: as long as it could be accepted."""
    guard = nodus.InMemoryReplayGuard()
    body = body_of()
    header = header_for(body, ts=NOW + 300)
    construct(body, header, replay_guard=guard)

    refused("signature_replayed", body, header, now=NOW + 599, replay_guard=guard)
    refused("signature_replayed", body, header, now=NOW + 600, replay_guard=guard)
    refused("signature_stale", body, header, now=NOW + 601, replay_guard=guard)


def test_a_guard_is_anything_with_its_one_method() -> None:
    """It is asked once for each genuine delivery, with what it needs to know."""

    class Noting:
        asked: list[tuple[str, float, float]]

        def is_first(self, delivery: str, *, now: float, keep_seconds: float) -> bool:
            self.asked.append((delivery, now, keep_seconds))
            return False

    guard = Noting()
    guard.asked = []
    refused("signature_replayed", body_of(), header_for(body_of()), replay_guard=guard, tolerance_seconds=60)

    assert [(len(delivery), *rest) for delivery, *rest in guard.asked] == [(64, NOW, 120)]


def test_verifying_loads_no_http_stack() -> None:
    """A receiver on a small function starts quickly."""
    program = (
        "import sys, nodus\n"
        "nodus.construct_event, nodus.InMemoryReplayGuard, nodus.sign_request, nodus.verify_webhook\n"
        "print(sorted({'anyio', 'cryptography', 'httpx', 'pydantic', 'ssl'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "[]"


def test_the_clock_is_asked_where_no_time_is_given() -> None:
    """A delivery signed now is neither stale nor of the future."""
    body = body_of()
    header = nodus.sign_request(signing_secret=SECRET, method="POST", path=PATH, body=body)["Nodus-Signature"]

    event = nodus.construct_event(body=body, signature_header=header, signing_secret=SECRET, path=PATH)

    assert event.id == "evt_1"


def test_every_extra_of_the_events_has_a_case_here() -> None:
    """A field that is added is tested."""
    envelope = {field.name for field in dataclasses.fields(nodus.WebhookEvent)}
    for made, extras in EXTRAS.values():
        assert {field.name for field in dataclasses.fields(made)} - envelope == set(extras)
    assert len({made for made, _ in EXTRAS.values()}) == len(EXTRAS)
    assert all(issubclass(made, nodus.WebhookEvent) for made, _ in itertools.chain(EXTRAS.values()))
