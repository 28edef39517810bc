# Generated from tests/_async/test_exactly_once.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""A lost answer never makes a second job, over a network that loses a third of them."""

from __future__ import annotations

import pytest

import nodus
from tests._sync.clients import on_loopback
from tests.support.ledger_of_jobs import JobBook
from tests.support.server import LoopbackServer


def submit(client: nodus.Client) -> tuple[str, int]:
    """Submit until it works, as the documentation says: under the key of the error. Give the id, and the reruns."""
    key: str | None = None
    reruns = 0
    while True:
        try:
            handle = client.run(image="ghcr.io/acme/train:v3", idempotency_key=key)
        except nodus.APIConnectionError as error:
            assert error.outcome_unknown  # noqa: PT017  # the rerun below is what is tested
            key = error.idempotency_key
            reruns += 1
        else:
            return handle.id, reruns


@pytest.mark.parametrize("submissions", [200, pytest.param(2_000, marks=pytest.mark.soak)])
def test_no_submission_is_lost_and_none_is_doubled(submissions: int) -> None:
    """With ten retries, hardly any has to be run again by hand; every one of them is one job in the end."""
    book = JobBook()
    with LoopbackServer(then=book.next_action) as server:
        with on_loopback(server, max_retries=10, timeout=1_000_000) as client:
            outcomes = [submit(client) for _ in range(submissions)]

    ids = {job_id for job_id, _ in outcomes}

    assert len(ids) == submissions
    assert ids == set(book.jobs.values())
    assert len(book.jobs) == submissions
    assert min(book.lost_before, book.lost_after) > submissions * 0.15


def test_what_raises_is_found_again_by_its_key() -> None:
    """Without retries a third of all submissions raises, and still none is lost or doubled."""
    book = JobBook(seed=7)
    with LoopbackServer(then=book.next_action) as server:
        with on_loopback(server, max_retries=0, timeout=1_000_000) as client:
            outcomes = [submit(client) for _ in range(100)]

    assert {job_id for job_id, _ in outcomes} == set(book.jobs.values())
    assert len(book.jobs) == len(outcomes) == 100
    assert sum(reruns for _, reruns in outcomes) > 10
