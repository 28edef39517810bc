"""How many submissions are divided into requests, and what becomes of each job."""

from __future__ import annotations

import json

import pytest

import nodus
from nodus import _http
from nodus._batches import MOST_BYTES, Accepted, ManySubmissions
from nodus._errors import Failure
from tests.support.script import job

SPEC = {"image": "ghcr.io/acme/eval:v2"}


def many_of(count: int, **fields: object) -> ManySubmissions:
    """So many jobs that differ in their keys alone."""
    return ManySubmissions([nodus.JobSpec(**SPEC, **fields) for _ in range(count)])  # type: ignore[arg-type]


def answer(*results: dict[str, object]) -> _http.Response:
    """What the server says of a batch."""
    return _http.Response(200, {"x-request-id": "req_1"}, json.dumps({"results": results}).encode())


def accepted(**more: object) -> dict[str, object]:
    return {"job": job(), "replayed": False, **more}


def refused(status: int, code: str, **more: object) -> dict[str, object]:
    return {"status": status, "error": code, "message": "It did not work.", **more}


def read(many: ManySubmissions, batch: list[int], *results: dict[str, object]) -> Failure | None:
    """Let the server say this of a batch."""
    return many.read(batch, many.call(batch), answer(*results))


def failure(status: int | None, code: str = "some_code", **more: object) -> nodus.NodusError:
    """A failure of a whole request."""
    return nodus.APIError("It did not work.", code=code, status_code=status, **more)  # type: ignore[arg-type]


def sizes(many: ManySubmissions) -> list[int]:
    """How many jobs each further request has."""
    return [len(batch) for batch in iter(many.next_batch, [])]


def test_two_hundred_share_a_request() -> None:
    """In the order given."""
    many = many_of(450)

    assert list(iter(many.next_batch, [])) == [[*range(200)], [*range(200, 400)], [*range(400, 450)]]
    assert many_of(0).next_batch() == []


def test_a_request_stays_below_what_servers_take() -> None:
    """One that is larger by itself goes alone; every body has all of its jobs, each with its key."""
    many = ManySubmissions(
        [nodus.JobSpec(image="x", env={"A": "a" * length}) for length in (400_000, 400_000, 400_000, 950_000, 1)]
    )
    batches = list(iter(many.next_batch, []))
    calls = [many.call(batch) for batch in batches]

    assert batches == [[0, 1], [2], [3], [4]]
    assert [call.path for call in calls] == ["/v1/jobs/batch", *["/v1/jobs"] * 3]
    assert len(calls[0].body) <= MOST_BYTES
    assert len({each["idempotency_key"] for each in json.loads(calls[0].body)["jobs"]}) == 2


def test_a_job_keeps_its_key() -> None:
    """Its own, or one that is made once; whatever it is sent with."""
    many = ManySubmissions([{**SPEC, "idempotency_key": "mine"}, nodus.JobSpec(**SPEC)])  # type: ignore[list-item]
    batch = many.next_batch()
    together, again = (json.loads(many.call(batch).body)["jobs"] for _ in range(2))
    alone = json.loads(many.call([1]).body)

    assert together == again
    assert together[0]["idempotency_key"] == "mine"
    assert alone == together[1]
    assert many.call([1]).idempotency_key == alone["idempotency_key"]


def test_a_spec_outside_its_limits_is_named() -> None:
    """By its place; nothing can have been sent."""
    with pytest.raises(nodus.ValidationError, match=r"specs\[1\]: .*gpu_count") as caught:
        ManySubmissions([SPEC, {**SPEC, "gpu_count": 9}])  # type: ignore[list-item]

    assert caught.value.code == "invalid_spec"


def test_each_job_has_its_own_outcome() -> None:
    """A view, or the error that it would have met alone, with its own key; what may pass is sent again."""
    many = many_of(4)
    batch = many.next_batch()
    found = read(
        many,
        batch,
        accepted(replayed=True),
        refused(402, "budget_exceeded", monthly_spend_cap_usd=25.0),
        refused(503, "database_unavailable", retry_after=2),
        refused(429, "rate_limited", retry_after=7),
    )
    first, second, third, _ = many.outcomes

    assert isinstance(first, Accepted)
    assert first.replayed
    assert isinstance(second, nodus.BudgetExceededError)
    assert second.payload["monthly_spend_cap_usd"] == 25.0
    assert (second.request_id, second.outcome_unknown) == ("req_1", False)
    assert second.idempotency_key == json.loads(many.call(batch).body)["jobs"][1]["idempotency_key"]
    assert isinstance(third, nodus.NodusError)
    assert (third.status_code, third.retry_after, third.outcome_unknown) == (503, 2.0, True)
    assert found is not None
    assert (found.error.status_code, found.error.retry_after) == (429, 7.0)
    assert many.to_send_again(batch) == [2, 3]


def test_what_is_not_known_stays_so_until_the_server_has_looked() -> None:
    """A limit of the rate says nothing of the attempt before it; a refusal of the job itself does."""
    many = many_of(2)
    batch = many.next_batch()
    read(many, batch, refused(503, "database_unavailable"), refused(503, "database_unavailable"))
    read(many, batch, refused(429, "rate_limited"), refused(402, "budget_exceeded"))

    assert [each.outcome_unknown for each in many.outcomes if isinstance(each, nodus.NodusError)] == [True, False]


def test_values_of_env_are_in_no_error() -> None:
    """Should the server repeat them."""
    many = many_of(2, env={"TOKEN": "hunter2-hunter2"})
    batch = many.next_batch()
    call = many.call(batch)
    content = json.dumps({"results": [accepted(), refused(422, "invalid_spec", given="hunter2-hunter2")]}).encode()
    many.read(batch, call, _http.Response(200, {}, content, secrets=call.secrets))
    error = many.outcomes[1]

    assert isinstance(error, nodus.ValidationError)
    assert "hunter2" not in str(error.payload)


@pytest.mark.parametrize(
    "results", [[], [accepted()], [accepted()] * 3, [accepted(), {}], [accepted(), {"status": 200}], [accepted(), 1]]
)
def test_an_answer_that_cannot_be_used_says_nothing_of_any_job(results: list[dict[str, object]]) -> None:
    """So all of them are sent again."""
    many = many_of(2)
    with pytest.raises(nodus.APIError) as caught:
        read(many, many.next_batch(), *results)

    assert caught.value.code == "invalid_response"
    assert many.outcomes == [None, None]


@pytest.mark.parametrize(
    ("status", "code", "payload", "most"),
    [
        (422, "batch_too_large", {"burst": 30}, 30),
        (422, "batch_too_large", {"burst": 0}, 100),
        (422, "batch_too_large", {"burst": True}, 100),
        (422, "batch_too_large", {"burst": 500}, 100),
        (422, "batch_too_large", None, 100),
        (413, "http_error", None, 100),
        (404, "not_found", None, 1),
        (405, "method_not_allowed", None, 1),
        (501, "http_error", None, 1),
    ],
)
def test_batches_become_as_small_as_the_server_wants(status: int, code: str, payload: object, most: int) -> None:
    """To the burst of its rate limit, if it tells that; to one, where it knows no batches. None is left out."""
    many = many_of(300)
    many.failed(many.next_batch(), failure(status, code, payload=payload))
    after = sizes(many)

    assert after[0] == most == max(after)
    assert sum(after) == 300


@pytest.mark.parametrize("status", [400, 402, 409, 413, 422, 503])
def test_what_concerns_one_job_alone_stops_no_other(status: int) -> None:
    """It is that job's outcome."""
    many = many_of(2)
    many.failed(many.next_batch(), failure(405))
    batch = many.next_batch()
    many.failed(batch, failure(status))
    error = many.outcomes[0]

    assert isinstance(error, nodus.NodusError)
    assert error.status_code == status
    assert many.next_batch() == [1]


@pytest.mark.parametrize("status", [None, 401, 429, 500])
def test_what_concerns_all_is_raised_while_nothing_is_accepted(status: int | None) -> None:
    """So a wrong key is an error like any other."""
    many = many_of(300)
    with pytest.raises(nodus.APIError) as caught:
        many.failed(many.next_batch(), failure(status))

    assert caught.value.status_code == status


def test_after_a_failure_nothing_more_is_sent_and_nothing_is_lost() -> None:
    """Those of the request may have been accepted, the others not; each error has the key to submit again with."""
    many = many_of(410)
    first = many.next_batch()
    read(many, first, *[accepted()] * 200)
    many.failed(many.next_batch(), failure(None, "connection_error", outcome_unknown=True))
    errors = [each for each in many.outcomes if isinstance(each, nodus.NodusError)]

    assert many.next_batch() == []
    assert [each.outcome_unknown for each in errors] == [True] * 200 + [False] * 10
    assert len({each.idempotency_key for each in errors}) == 210


def test_a_first_request_whose_outcome_is_not_known_is_not_raised() -> None:
    """Jobs may have been accepted, and the keys that would find them must not be lost."""
    many = many_of(2)
    many.failed(many.next_batch(), failure(None, "timeout", outcome_unknown=True))

    assert all(isinstance(each, nodus.NodusError) and each.outcome_unknown for each in many.outcomes)
