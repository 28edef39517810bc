"""Records are believed only as they are written: a job could write into them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus_control.suppliers.slurm.records import END, Ended, Records, Silence, parse_records, read_records

CLAIM = "run 7.123.4567 7 node1"
WHOLE = f"""a claim {CLAIM}
a started run 7.123.4567 1796043438.428668132 4567
a alive 5067
b claim withdrawn 1796043438.5
c claim {CLAIM}
c ended exited 7 1796043438.25 250
{END}
"""


def test_several_attempts_are_read_at_once() -> None:
    """One that has no records is not among them."""
    assert parse_records(WHOLE) == {
        "a": Records(is_claimed=True, started_at=1796043438.428668132, alive="5067", lived_seconds=5.0),
        "b": Records(withdrawn_at=1796043438.5),
        "c": Records(is_claimed=True, ended=Ended("exited", 7, 1796043438.25, 2.5)),
    }


@given(st.integers(0, len(WHOLE) - 2))
def test_a_part_of_an_answer_is_none(length: int) -> None:
    """By it, an attempt that was claimed would not be."""
    assert parse_records(WHOLE[:length]) is None


@pytest.mark.parametrize(
    "ended",
    [
        "",
        "exited",
        "exited 0 1.5",
        "exited -1 1.5 1",
        "exited 0 nan 1",
        "exited 0 1e9 1",
        "exited 0 1.5 1.5",
        "a 0 1 2 3",
    ],
)
def test_what_is_no_end_is_none(ended: str) -> None:
    """Nobody's number becomes a bill."""
    assert read_records({"claim": CLAIM, "ended": ended}).ended is None


def test_a_claim_that_cannot_be_read_is_somebodys() -> None:
    """Nobody else will run the attempt, so it is not taken for one that nobody has."""
    assert read_records({"claim": ""}).is_claimed
    assert not read_records({}).is_claimed


@pytest.mark.parametrize(
    ("started", "alive", "expected"),
    [
        ("run t 1.5 4567", "4567", 0.0),
        ("run t 1.5 4567", "4667", 1.0),
        ("run t 1.5 4567", "1", 0.0),
        ("run t 1.5 4567", "", 0.0),
        ("run t 1.5", "4667", 0.0),
    ],
)
def test_a_life_is_measured_from_the_start_to_the_last_sign(started: str, alive: str, expected: float) -> None:
    """By the node's own uptime."""
    assert read_records({"claim": CLAIM, "started": started, "alive": alive}).lived_seconds == expected


def test_an_attempt_whose_right_to_start_was_taken_has_not_started() -> None:
    """Whatever its claim says."""
    assert read_records({"claim": CLAIM, "started": "never"}).started_at is None


@given(st.dictionaries(st.sampled_from(["claim", "started", "alive", "ended"]), st.text()))
def test_any_text_is_read_as_something(texts: dict[str, str]) -> None:
    """Nothing that stands in a record stops the reading of the others."""
    read_records(texts)


def test_a_silence_is_read_as_it_is_noted() -> None:
    """With its sign, or where there was none."""
    for noted in (Silence("5067", 41.5), Silence("", 20.0)):
        assert read_records({"unheard": noted.text}).unheard == noted


@pytest.mark.parametrize("text", ["", "4150 x", "x 5067", "-1 5067", "1.5 5067", "1 2 3"])
def test_what_is_no_silence_is_none(text: str) -> None:
    """It begins anew."""
    assert read_records({"unheard": text}).unheard == Silence()
