"""The REST API as data: what each call asks for, and whether it may be sent twice."""

from __future__ import annotations

import json
from urllib.parse import parse_qs

import pytest

import nodus
from nodus import _calls
from nodus._calls import MIN_SECRET_LENGTH, Call

JOB = "01a22b90-5ce6-7000-8000-0000000000aa"
WEBHOOK = "wh_1"


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (_calls.healthz(), "GET /healthz"),
        (_calls.get_job(JOB), f"GET /v1/jobs/{JOB}"),
        (_calls.cancel_job(JOB), f"POST /v1/jobs/{JOB}/cancel"),
        (_calls.job_logs(JOB), f"GET /v1/jobs/{JOB}/logs"),
        (_calls.job_routing(JOB), f"GET /v1/jobs/{JOB}/routing"),
        (_calls.key(), "GET /v1/key"),
        (_calls.offers(), "GET /v1/offers"),
        (_calls.usage([]), "GET /v1/usage"),
        (_calls.list_webhooks(), "GET /v1/webhooks"),
        (_calls.get_webhook(WEBHOOK), "GET /v1/webhooks/wh_1"),
        (_calls.delete_webhook(WEBHOOK), "DELETE /v1/webhooks/wh_1"),
        (_calls.rotate_webhook(WEBHOOK), "POST /v1/webhooks/wh_1/rotate"),
        (_calls.enable_webhook(WEBHOOK), "POST /v1/webhooks/wh_1/enable"),
        (_calls.replay_delivery(WEBHOOK, "d 1"), "POST /v1/webhooks/wh_1/deliveries/d%201/replay"),
        (_calls.ledger_key(), "GET /v1/ledger/key"),
        (_calls.ledger_checkpoint(), "GET /v1/ledger/checkpoint"),
    ],
)
def test_each_call_has_its_method_and_path(call: Call, line: str) -> None:
    """Identifiers in a path are percent-encoded."""
    assert f"{call.method} {call.path}" == line


@pytest.mark.parametrize(
    ("call", "query"),
    [
        (_calls.list_jobs(limit=5), {"limit": ["5"]}),
        (_calls.list_jobs(limit=5, cursor="a&b"), {"limit": ["5"], "cursor": ["a&b"]}),
        (_calls.list_deliveries(WEBHOOK, limit=7, cursor="c"), {"limit": ["7"], "cursor": ["c"]}),
        (_calls.ledger_entries(job_id=JOB, after=3, limit=9), {"after": ["3"], "job_id": [JOB], "limit": ["9"]}),
        (_calls.ledger_proof(3, size=8), {"size": ["8"]}),
        (_calls.ledger_consistency(2, 8), {"from": ["2"], "to": ["8"]}),
        (_calls.follow_logs(JOB, offset=0, follow=True), {"follow": ["true"]}),
        (_calls.all_events(after="42", resumes=False), {"after": ["42"]}),
    ],
)
def test_the_query_says_what_was_asked_for(call: Call, query: dict[str, list[str]]) -> None:
    """Arguments that were not given do not appear in it."""
    assert parse_qs(call.query) == query


def test_every_post_has_an_idempotency_key_of_its_own() -> None:
    """The server recognises a repeated request by it."""
    posts = [
        make()
        for make in (
            lambda: _calls.cancel_job(JOB),
            lambda: _calls.create_webhook("https://x.example/", ["job.failed"]),
            lambda: _calls.rotate_webhook(WEBHOOK),
            lambda: _calls.enable_webhook(WEBHOOK),
            lambda: _calls.replay_delivery(WEBHOOK, "d1"),
        )
        for _ in range(2)
    ]

    assert len({call.idempotency_key for call in posts} - {None}) == len(posts)


@pytest.mark.parametrize(
    ("call", "repeatable"),
    [
        (_calls.get_job(JOB), True),
        (_calls.cancel_job(JOB), True),
        (_calls.enable_webhook(WEBHOOK), True),
        (_calls.delete_webhook(WEBHOOK), True),
        (_calls.create_webhook("https://x.example/", ["job.failed"]), False),
        (_calls.rotate_webhook(WEBHOOK), False),
        (_calls.replay_delivery(WEBHOOK, "d1"), False),
    ],
)
def test_only_what_has_the_same_effect_twice_is_repeatable(call: Call, repeatable: bool) -> None:
    """A second endpoint, a second secret or a second delivery would be one too many."""
    assert call.repeatable is repeatable


def test_a_submission_carries_its_key_in_the_body_too() -> None:
    """A signature covers the body, not the header."""
    call = _calls.submit_job(nodus.JobSpec(image="x", idempotency_key="key-1"))

    assert (call.idempotency_key, json.loads(call.body)["idempotency_key"]) == ("key-1", "key-1")
    assert call.repeatable


def test_a_submission_without_a_key_gets_a_new_one() -> None:
    """Each submission gets another."""
    spec = nodus.JobSpec(image="x")
    first, second = _calls.submit_job(spec), _calls.submit_job(spec)

    assert first.idempotency_key
    assert first.idempotency_key != second.idempotency_key
    assert json.loads(first.body)["idempotency_key"] == first.idempotency_key


def test_values_of_the_environment_are_secrets_unless_they_are_too_short() -> None:
    """Redacting "1" would garble every number of an error; no secret shows in the call's repr."""
    long = "x" * MIN_SECRET_LENGTH
    call = _calls.submit_job(nodus.JobSpec(image="x", env={"A": long, "B": long[:-1]}))

    assert call.secrets == (long,)
    assert "secrets" not in repr(call)


def test_credentials_are_left_out_of_the_health_check_alone() -> None:
    """The health check needs no key."""
    assert not _calls.healthz().authenticated
    assert _calls.key().authenticated


@pytest.mark.parametrize(
    ("after", "resumes", "query", "headers"),
    [
        (None, False, "", ()),
        ("7", False, "after=7", ()),
        ("7", True, "after=7", (("Last-Event-ID", "7"),)),
        ("é", True, "after=%C3%A9", ()),
        ("a\nb", True, "after=a%0Ab", ()),
    ],
)
def test_a_stream_resumes_after_the_last_event(
    after: str | None, resumes: bool, query: str, headers: tuple[tuple[str, str], ...]
) -> None:
    """The id is sent in a header, unless a header cannot carry it."""
    call = _calls.all_events(after=after, resumes=resumes)

    assert (call.query, call.headers, call.accept) == (query, headers, "text/event-stream")


@pytest.mark.parametrize(("offset", "headers"), [(0, ()), (12, (("Range", "bytes=12-"),))])
def test_output_is_read_from_where_it_was_left(offset: int, headers: tuple[tuple[str, str], ...]) -> None:
    """From the beginning, no range is sent, because an empty output would make it unsatisfiable."""
    assert _calls.follow_logs(JOB, offset=offset, follow=False).headers == headers


@pytest.mark.parametrize("bad", ["", "..", "\ud800"])
def test_what_cannot_be_an_id_makes_no_call(bad: str) -> None:
    """Its path would be another endpoint's."""
    with pytest.raises(nodus.ValidationError):
        _calls.get_webhook(bad)
    with pytest.raises(nodus.ValidationError):
        _calls.get_job(bad)
