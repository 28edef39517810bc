"""What an interrupted or failed command says about how to go on."""

from __future__ import annotations

import pytest

import nodus as sdk
from nodus._cli.invocation import PendingWork
from nodus._cli.output import Output


def pending_work() -> PendingWork:
    return PendingWork(Output())


def test_nothing_under_way_has_no_advice() -> None:
    """A command that has begun nothing prints no way to continue."""
    assert pending_work().advice() == []


def test_an_id_is_quoted_for_the_shell() -> None:
    """The lines are meant to be pasted, and the id comes from a server or a user."""
    pending = PendingWork(Output())
    pending.job_id = "a b\x1b;c"

    assert pending.advice()[1:] == [
        r"  To watch it again:  nodus wait $'a b\033;c'",
        r"  To cancel it:       nodus cancel $'a b\033;c'",
    ]


def test_a_stream_of_all_jobs_says_where_it_was() -> None:
    """The line continues behind the last event that was printed."""
    pending = pending_work()
    pending.resume = "nodus events --after 42"

    assert pending.advice() == ["  To go on from there:  nodus events --after 42"]


@pytest.mark.parametrize("outcome_unknown", [True, False])
def test_a_failed_submission_is_submitted_again_only_if_it_may_have_worked(outcome_unknown: bool) -> None:
    """Otherwise there is no job to look for."""
    pending = pending_work()
    pending.begin("key-1", ["nodus run --image x --idempotency-key key-1"])
    error = sdk.APIConnectionError("gone", outcome_unknown=outcome_unknown)

    advice = "\n".join(pending.advice_after(error))

    assert ("nodus run --image x --idempotency-key key-1" in advice) is outcome_unknown


def test_a_job_that_is_known_needs_no_second_submission() -> None:
    """Its id is enough, even if a later request of the command fails."""
    pending = pending_work()
    pending.begin("key-1", ["nodus run --image x --idempotency-key key-1"])
    pending.job_id = "job-1"

    advice = "\n".join(pending.advice_after(sdk.APIConnectionError("gone", outcome_unknown=True)))

    assert "nodus wait job-1" in advice
    assert "nodus run" not in advice
