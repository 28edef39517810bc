"""Views of jobs: what a newer server adds, when a job counts as over, and what a glance tells of a view."""

from __future__ import annotations

import pydantic
import pytest

from nodus import JobStatus, JobView
from nodus._job_pages import JobGlance

ENDED = "2026-11-30T09:50:28Z"


def view(status: str, **fields: object) -> JobView:
    """A job as the server might describe it."""
    return JobView.model_validate({"id": "a", "status": status, **fields})


def test_fields_of_a_newer_server_are_ignored() -> None:
    """A client may be older than what it talks to."""
    assert view("running", colour="blue") == view("running")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_cost_that_is_no_number_is_no_cost(number: str) -> None:
    """Sums of costs would be no numbers either."""
    with pytest.raises(pydantic.ValidationError):
        JobView.model_validate_json(f'{{"id": "a", "status": "completed", "cost_usd": {number}}}')


@pytest.mark.parametrize(
    ("status", "is_terminal", "succeeded"),
    [
        ("queued", False, False),
        ("placed", False, False),
        ("running", False, False),
        ("completed", True, True),
        ("failed", True, False),
        ("cancelled", True, False),
    ],
)
def test_a_known_status_decides_whether_a_job_is_over(status: str, is_terminal: bool, succeeded: bool) -> None:
    """Whatever times the server gives with it."""
    for job in (view(status), view(status, finished_at=ENDED)):
        assert (job.is_terminal, job.succeeded) == (is_terminal, succeeded)


def test_a_status_of_the_future_is_over_once_the_job_has_an_end() -> None:
    """Nobody waits for ever, nor gives up a job that goes on; and it has not succeeded, for all that is known."""
    waiting, over = view("hibernated"), view("archived", finished_at=ENDED)

    assert (waiting.is_terminal, over.is_terminal, over.succeeded) == (False, True, False)


@pytest.mark.parametrize(
    ("later", "agrees"),
    [
        ({}, True),
        ({"duration_s": 2.5, "cost_usd": 1.0}, True),
        ({"status": "placed"}, False),
        ({"supplier": "lambda"}, False),
        ({"attempts": 2}, False),
    ],
)
def test_a_glance_shows_whether_a_view_is_up_to_date(later: dict[str, object], agrees: bool) -> None:
    """By what changes whenever anything does: status, supplier, number of placements."""
    before = {"id": "a", "status": JobStatus.RUNNING, "supplier": "coreweave", "attempts": 1}
    glance = JobGlance.model_validate({**before, **later})

    assert glance.agrees_with(JobView.model_validate(before)) is agrees
