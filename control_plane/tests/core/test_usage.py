"""What somebody asks about the cost of jobs, as it is read from the query."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus_core.job_labels import MAX_LABELS
from nodus_core.times import milliseconds, timestamp
from nodus_core.usage import GROUPINGS, InvalidQuestion, Question, date_of, day_of, read_question

NOW = milliseconds("2026-12-31T23:59:59.999Z")


def span(**parameters: str) -> tuple[str, str]:
    """The span of a question, in words."""
    question = read_question({name.rstrip("_"): text for name, text in parameters.items()}, NOW)
    return timestamp(question.begins_at), timestamp(question.ends_at)


@pytest.mark.parametrize(
    ("parameters", "begins", "ends"),
    [
        ({}, "2026-12-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z"),
        ({"month": "2028-02"}, "2028-02-01T00:00:00.000Z", "2028-03-01T00:00:00.000Z"),
        ({"from_": "2026-11-30"}, "2026-11-30T00:00:00.000Z", "2027-01-01T00:00:00.000Z"),
        ({"to": "2026-12-24"}, "2026-12-01T00:00:00.000Z", "2026-12-24T00:00:00.000Z"),
        (
            {"from_": "2026-11-01T00:00:00+02:00", "to": "2026-11-01t00:00:00.0001z"},
            "2026-10-31T22:00:00.000Z",
            "2026-11-01T00:00:00.001Z",
        ),
        (
            {"from_": "1969-12-31T23:59:59.999999999-00:30", "to": "1970-01-02"},
            "1970-01-01T00:30:00.000Z",
            "1970-01-02T00:00:00.000Z",
        ),
    ],
)
def test_a_span_is_read(parameters: dict[str, str], begins: str, ends: str) -> None:
    """Of dates and times, in any offset; what is missing is that of this month."""
    assert span(**parameters) == (begins, ends)


@pytest.mark.parametrize(
    "parameters",
    [
        {"month": "2026-13"},
        {"month": "2026-1"},
        {"month": "0000-01"},
        {"month": "9999-12"},
        {"month": "2026-10", "to": "2026-11-01"},
        {"from": "2026-02-30"},
        {"from": "2026-10-01T08:00:00"},
        {"from": "2026-10-01T08:00:00 02:00"},
        {"from": "2026-10-01T08:00:00+24:00"},
        {"from": "2026-10-01T24:00:00Z"},
        {"from": "20261001"},
        {"from": ""},
        {"from": "2026-10-01", "to": "2026-10-01"},
        {"from": "2027-01-01"},
        {"group_by": "colour"},
        {"group_by": "day,Day"},
        {"group_by": "label:"},
        {"group_by": "label:Team"},
        {"group_by": ",".join(f"label:l{number}" for number in range(MAX_LABELS + 1))},
        {"simulated": "yes"},
    ],
)
def test_what_is_malformed_is_refused(parameters: dict[str, str]) -> None:
    """With a sentence."""
    with pytest.raises(InvalidQuestion) as caught:
        read_question(parameters, NOW)

    assert caught.value.message.endswith(".")


def test_groups_are_those_asked_for() -> None:
    """Each once, in their order; which jobs are meant is the caller's choice, else the server's."""
    asked = {"group_by": ",".join([*reversed(GROUPINGS), "day"])}
    begins_at, ends_at = milliseconds("2026-12-01T00:00:00.000Z"), milliseconds("2027-01-01T00:00:00.000Z")

    assert read_question(asked, NOW) == Question(begins_at, ends_at, tuple(reversed(GROUPINGS)), simulated=False)
    assert read_question({"group_by": ""}, NOW, simulated=True) == Question(begins_at, ends_at, (), simulated=True)
    labelled = read_question({"group_by": "label:team,day"}, NOW, labels=[("team", None)])
    assert (labelled.group_by, labelled.labels) == (("label:team", "day"), (("team", None),))
    assert not read_question({"simulated": "false"}, NOW, simulated=True).simulated
    assert read_question({"simulated": "true"}, NOW).simulated


@given(st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(timezone.utc)))
def test_a_time_is_read_as_the_calendar_has_it(moment: datetime) -> None:
    """Up to the millisecond that begins then or next; and a day is that of its date."""
    at = milliseconds(f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z")
    question = read_question({"from": "1970-01-01", "to": moment.isoformat()}, NOW)

    assert question.ends_at == at + (moment.microsecond % 1000 > 0)
    assert date_of(day_of(at)) == moment.date().isoformat()
