"""Texts that no database keeps: they name nothing, and break nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from keys.callers import SPEC, WEBHOOK, Caller, code_of, mint

NOT_FOUND = {"job_not_found", "webhook_not_found"}


@pytest.mark.both_engines
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/jobs/%00"),
        ("GET", "/v1/jobs/a%00b/logs"),
        ("GET", "/v1/jobs/a%00b/events"),
        ("POST", "/v1/jobs/a%00b/cancel"),
        ("GET", "/v1/webhooks/%00"),
        ("POST", "/v1/webhooks/%00/rotate"),
        ("POST", "/v1/webhooks/%00/deliveries/%00/replay"),
        ("GET", "/v1/jobs/%ed%a0%80"),
    ],
)
def test_an_id_that_cannot_be_is_not_there(
    kept_database_url: str, served: Callable[..., Caller], method: str, path: str
) -> None:
    """On either engine."""
    answer = served().call(mint(kept_database_url), method, path)

    assert answer.status_code == 404
    assert answer.json()["error"] in NOT_FOUND


@pytest.mark.both_engines
def test_nor_does_a_query_find_it(kept_database_url: str, served: Callable[..., Caller]) -> None:
    """It finds no row."""
    answer = served().call(mint(kept_database_url), "GET", "/v1/ledger?job_id=%00")

    assert (answer.status_code, answer.json()["entries"]) == (200, [])


@pytest.mark.both_engines
@pytest.mark.parametrize("with_redis", [False, True], ids=["database", "redis"])
def test_a_signed_request_is_refused_for_its_idempotency_key(
    request: pytest.FixtureRequest, kept_database_url: str, served: Callable[..., Caller], with_redis: bool
) -> None:
    """As an unsigned one is: whatever remembers its signature does not stumble over it."""
    redis_url = request.getfixturevalue("redis_url") if with_redis else None
    key = mint(kept_database_url, "--signing-required", redis_url=redis_url)
    caller = served(redis_url)
    answers = [
        caller.call(key, "POST", path, {**good, "idempotency_key": odd})
        for odd in ("\0", "\ud800", "", "☃", "a" * 5000)
        for path, good in (("/v1/jobs", SPEC), ("/v1/webhooks", WEBHOOK))
    ]

    assert {code_of(answer) for answer in answers} == {(400, "invalid_idempotency_key")}
