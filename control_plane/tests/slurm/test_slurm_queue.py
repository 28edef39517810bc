"""What Slurm's commands say is believed only where it is whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus_control.suppliers.slurm.queue import (
    END,
    Queue,
    QueuedJob,
    Refusal,
    Standing,
    classify_refusal,
    parse_queue,
    parse_submitted,
)

LINES = ["7|PENDING|nodus-db-a-1|Resources", "8|RUNNING|nodus-db-b-1|None", "9|COMPLETED|nodus-db-b-1|a|b"]


def said(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


def test_jobs_are_found_by_name_whatever_their_ids_are() -> None:
    """Several may have one name; those that run come first."""
    queue = parse_queue(said(*reversed(LINES), END))

    assert queue is not None
    assert queue.of("nodus-db-a-1") == [QueuedJob("7", "nodus-db-a-1", "PENDING", "Resources")]
    assert [job.state for job in queue.of("nodus-db-b-1")] == ["RUNNING", "COMPLETED"]
    assert queue.of("nodus-db-c-1") == []
    assert (queue.is_active("nodus-db-a-1"), queue.is_active("nodus-db-c-1")) == (True, False)


def test_an_empty_queue_is_one() -> None:
    """If Slurm says that it is."""
    assert parse_queue(said(END)) == Queue({})


@given(st.integers(0, len(said(*LINES, END)) - 2))
def test_a_part_of_an_answer_is_none(length: int) -> None:
    """By it, a job that runs would be gone."""
    assert parse_queue(said(*LINES, END)[:length]) is None


@pytest.mark.parametrize("line", ["Welcome to the cluster", "x|RUNNING|name|None", "", END])
def test_what_is_no_line_of_the_queue_is_left_out(line: str) -> None:
    """A login node greets whoever logs in, for example, and another job's name may hold a line break."""
    assert parse_queue(said(line, *LINES, END)) == parse_queue(said(*LINES, END)) != Queue({})


def test_a_job_whose_state_is_not_told_may_run() -> None:
    """It is there, so it is not taken for gone."""
    queue = parse_queue(said("7||nodus-db-a-1|None", END))

    assert queue is not None
    assert queue.is_active("nodus-db-a-1")


@pytest.mark.parametrize(
    ("state", "standing"),
    [
        ("PENDING", Standing.WAITING),
        ("CONFIGURING", Standing.WAITING),
        ("RUNNING", Standing.RUNNING),
        ("COMPLETING", Standing.RUNNING),
        ("SUSPENDED", Standing.RUNNING),
        ("A_STATE_OF_TOMORROW", Standing.RUNNING),
        ("NODE_FAIL", Standing.OVER),
        ("OUT_OF_MEMORY", Standing.OVER),
        ("TIMEOUT", Standing.OVER),
    ],
)
def test_a_state_that_nobody_knows_may_run(state: str, standing: Standing) -> None:
    """Only those that are surely over are."""
    assert QueuedJob("1", "name", state).standing is standing


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12\n", "12"),
        ("12;cluster\n", "12"),
        ("Warning: slow\n12\n", "12"),
        ("", None),
        ("Submitted batch job 12\n", None),
    ],
)
def test_the_id_of_a_submission_is_read(text: str, expected: str | None) -> None:
    """Some clusters put their name after it, and warnings before."""
    assert parse_submitted(text) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Unable to contact slurm controller (connect failure)", Refusal.UNREACHABLE),
        ("fatal: Unable to process configuration file", Refusal.UNREACHABLE),
        ("fatal: Could not establish a configuration source", Refusal.UNREACHABLE),
        ("Socket timed out on send/recv operation", Refusal.UNREACHABLE),
        ("Slurm backup controller in standby mode", Refusal.UNREACHABLE),
        ("Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)", Refusal.FULL),
        ("AssocMaxSubmitJobLimit", Refusal.FULL),
        ("QOSMaxSubmitJobPerUserLimit", Refusal.FULL),
        ("Slurm temporarily unable to accept job, sleeping and retrying", Refusal.FULL),
        ("Requested time limit is invalid (missing or exceeds some limit)", Refusal.IMPOSSIBLE),
        ("Requested node configuration is not available", Refusal.IMPOSSIBLE),
        ("Invalid partition name specified", Refusal.IMPOSSIBLE),
        ("a message of tomorrow", Refusal.IMPOSSIBLE),
    ],
)
def test_why_nothing_was_submitted(message: str, expected: Refusal) -> None:
    """Of a controller that did not answer, nothing is known."""
    assert classify_refusal(f"sbatch: error: Batch job submission failed: {message}") is expected
