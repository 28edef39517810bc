# Generated from tests/_async/test_faults_submission.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""A submission over a network that cannot be trusted: one job for one key, and no false word about what is known."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nodus
from tests._sync.fault_calls import PATIENCE_SECONDS, client_of
from tests.support.faults import FAULTS, QUICK, SLOW, FaultServer
from tests.support.soundness import assert_sound

CHOSEN = settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

REFUSALS = {"an error that repeats the request", "an error body nested 100,000 deep"}
"""A 400 or 422 says what became of the key; a server that took the job does not send one."""

ANY_FAULT = st.sampled_from(sorted(FAULTS.keys() - REFUSALS))


def submit(client: nodus.Client, key: str | None) -> tuple[nodus.Job | None, nodus.NodusError | None]:
    try:
        return client.run(image="i", idempotency_key=key), None
    except nodus.NodusError as exc:
        return None, exc


def assert_one_job(faults: list[str], key: str | None, max_retries: int) -> None:
    """Submit under faults, and again under the error's key: the server has one job in the end."""
    with FaultServer(faults) as server:
        with client_of(server, max_retries=max_retries) as client:
            job, error = submit(client, key)
            took_it = bool(server.control_plane.taken)
            if error is not None:
                assert_sound(error)
                assert error.idempotency_key is not None
                assert key in (None, error.idempotency_key)
                assert error.outcome_unknown or not took_it
                server.heal()
                patient = client.with_options(timeout=PATIENCE_SECONDS)
                job, again = submit(patient, error.idempotency_key)
                assert again is None
                assert job is not None
                # A server that the client did not wait for may take the job only now.
                assert job.replayed or not took_it

    sent = {request.header("idempotency-key") for request in server.requests("POST")}
    bodies = {request.body for request in server.requests("POST")}

    assert job is not None
    assert [[job.id]] == list(server.control_plane.taken.values())
    assert sent == set(server.control_plane.taken)
    assert {json.loads(body)["idempotency_key"] for body in bodies} == sent


@pytest.mark.parametrize("place", range(4))
def test_one_fault_and_one_job(place: int) -> None:
    """Whatever is met, once and without retries."""
    for fault in itertools.islice(sorted(QUICK.keys() - REFUSALS), place, None, 4):
        assert_one_job([fault], "step-7", max_retries=0)


@pytest.mark.parametrize("fault", SLOW)
def test_one_delay_and_one_job(fault: str) -> None:
    """A server that was too slow has the job all the same."""
    assert_one_job([fault] * 3, None, max_retries=2)


@pytest.mark.anyio
@CHOSEN
@given(
    faults=st.lists(ANY_FAULT, max_size=5),
    key=st.none() | st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=128),
    max_retries=st.integers(0, 4),
)
def test_any_faults_and_one_job(faults: list[str], key: str | None, max_retries: int) -> None:
    """Whatever is met, in whatever order, under a key of the caller's or one that was made."""
    assert_one_job(faults, key, max_retries)


@pytest.mark.parametrize("fault", ["reset after acting", "length too long", "an error after acting", "JSON cut short"])
def test_the_last_answer_does_not_hide_what_went_before(fault: str) -> None:
    """A submission that may have been taken stays so when the attempts after it were turned away."""
    with FaultServer([fault, "429 with zero", "429 with zero"]) as server:
        with client_of(server, timeout=PATIENCE_SECONDS) as client:
            _, error = submit(client, None)

    assert error is not None
    assert error.outcome_unknown
    assert len(server.control_plane.taken) == 1
