"""The transition table, and the function that applies it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus_core.lifecycle import (
    TRANSITIONS,
    Change,
    IllegalTransition,
    JobState,
    JobStatus,
    apply,
    running_milliseconds,
)

PLACED = Change(to=JobStatus.PLACED, at=1000, supplier="aws", region="us-east-1", micros_per_gpu_hour=6_880_000)


def change(to: JobStatus, at: int) -> Change:
    """Make a change to any status, complete."""
    return Change(
        to=to, at=at, supplier="aws", region="us-east-1", micros_per_gpu_hour=6_880_000, error_code="job_failed"
    )


@given(st.lists(st.sampled_from(list(JobStatus))))
def test_only_the_table_leads_from_state_to_state(path: list[JobStatus]) -> None:
    """Whatever is asked for, in whatever order, either follows the table or changes nothing."""
    state = JobState()
    for step, to in enumerate(path):
        before = state
        if to in TRANSITIONS[before.status]:
            state = apply(before, change(to, at=step))
            assert state.status is to
            assert state.placements == before.placements + (to is JobStatus.PLACED)
            assert (state.finished_at is not None) == to.is_terminal
            assert (state.supplier is None) == (to is JobStatus.QUEUED or before.supplier is None is state.supplier)
        else:
            with pytest.raises(IllegalTransition, match=f"a {before.status.value} job cannot become {to.value}"):
                apply(before, change(to, at=step))


def test_terminal_states_lead_nowhere() -> None:
    """Three states are final, the manual says which."""
    final = {status.value for status in JobStatus if status.is_terminal}

    assert final == {"completed", "failed", "cancelled"}


def test_a_lost_placement_leaves_nothing_but_its_count() -> None:
    """A job that is back in the queue is nowhere, has no rate and has not started."""
    running = apply(apply(JobState(), PLACED), change(JobStatus.RUNNING, at=2000))

    assert apply(running, change(JobStatus.QUEUED, at=3000)) == JobState(placements=1)


def test_a_placement_needs_a_place_and_a_failure_a_code() -> None:
    """What a status stands for must be known when it is reached."""
    with pytest.raises(ValueError, match="supplier, region and rate"):
        apply(JobState(), Change(to=JobStatus.PLACED, at=1))
    with pytest.raises(ValueError, match="error code"):
        apply(JobState(), Change(to=JobStatus.FAILED, at=1))


def test_running_time_is_from_start_to_end_and_never_above_the_limit() -> None:
    """Provisioning is free, and so is the moment that ending an overdue job takes."""
    running = apply(apply(JobState(), PLACED), change(JobStatus.RUNNING, at=61_000))

    assert running_milliseconds(apply(running, change(JobStatus.COMPLETED, at=91_000)), 60_000) == 30_000
    assert running_milliseconds(apply(running, change(JobStatus.FAILED, at=200_000)), 60_000) == 60_000


def test_what_never_ran_took_no_time() -> None:
    """A job that is cancelled in the queue costs nothing."""
    assert running_milliseconds(apply(JobState(), change(JobStatus.CANCELLED, at=5)), 60_000) == 0
