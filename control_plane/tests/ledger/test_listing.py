"""Which jobs a page has: those that pass every filter, newest first, on both engines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from job_rows import row
from sqlalchemy import insert

from nodus_core.lifecycle import JobStatus
from nodus_core.spec import FIELDS
from nodus_ledger.database.database import Database
from nodus_ledger.database.schema import jobs
from nodus_ledger.jobs import labels
from nodus_ledger.jobs.listing import ALL, Filters, read_page

COUNT = 60
CLOCK = 1_000_000
FAILED, COMPLETED, QUEUED = JobStatus.FAILED, JobStatus.COMPLETED, JobStatus.QUEUED


def labels_of(number: int) -> dict[str, str]:
    """Two teams, a rare label without a value, and one whose values begin alike."""
    team = {0: "search", 1: "ads"}.get(number % 4)
    return {
        **({"team": team} if team else {}),
        **({"gpu-test": ""} if number % 7 == 0 else {}),
        **({"ratio": f"1:{number % 3}"} if number % 2 else {}),
    }


def job(number: int) -> dict[str, Any]:
    """A job whose time is not always that of its number: some clocks are behind."""
    status = QUEUED if number % 10 == 4 else (COMPLETED, FAILED)[number % 2]
    return {
        **row(number),
        "customer_id": "globex" if number % 5 == 0 else "acme",
        "status": status.value,
        "name": ("nightly", None, "weekly")[number % 3],
        "labels": FIELDS["labels"].to_column(labels_of(number)),
        "created_at": CLOCK + number * 1000 - (3500 if number % 6 == 0 else 0),
        "endpoint": "POST /v1/jobs",
        "idempotency_scope": f"agent {number % 16}" if number % 2 else "",
        "idempotency_key": f"key {number // 8}" if number % 8 in (0, 1, 3, 5) else None,
    }


@pytest.fixture
def database(kept_database_url: str) -> Iterator[Database]:
    """A database with the jobs of two customers."""
    opened = Database(kept_database_url)
    with opened.write() as connection:
        for number in range(COUNT):
            made = job(number)
            connection.execute(insert(jobs), made)
            labels.insert_rows(connection, made["customer_id"], number + 1, labels_of(number))
    yield opened
    opened.close()


def passes(made: Mapping[str, Any], number: int, filters: Filters) -> bool:
    """What the filters mean."""
    has = labels_of(number)
    return (
        made["customer_id"] == "acme"
        and (not filters.statuses or JobStatus(made["status"]) in filters.statuses)
        and filters.name in (None, made["name"])
        and all(key in has and value in (None, has[key]) for key, value in filters.labels)
        and filters.idempotency_key in (None, made["idempotency_key"])
        and (filters.created_after is None or made["created_at"] >= filters.created_after)
        and (filters.created_before is None or made["created_at"] < filters.created_before)
    )


SEARCH, ANY_TEAM, TEST, RATIO = ("team", "search"), ("team", None), ("gpu-test", None), ("ratio", "1:1")
LATE, EARLY = CLOCK + 26_500, CLOCK + 44_500  # the times of jobs themselves: one is included, the other is not

SOME = [
    ALL,
    Filters([QUEUED, FAILED, QUEUED]),
    Filters(name="nightly"),
    Filters(labels=[SEARCH]),
    Filters(labels=[ANY_TEAM]),
    Filters(labels=[RATIO]),
    Filters(labels=[("gpu-test", "")]),
    Filters(labels=[TEST, SEARCH]),
    Filters([QUEUED], labels=[ANY_TEAM]),
    Filters([FAILED, COMPLETED], labels=[ANY_TEAM, RATIO]),
    Filters([QUEUED, FAILED], labels=[ANY_TEAM]),
    Filters(name="weekly", labels=[ANY_TEAM]),
    Filters([QUEUED, COMPLETED], name="weekly", labels=[ANY_TEAM]),
    Filters(idempotency_key="key 2"),
    Filters([FAILED], labels=[RATIO], idempotency_key="key 4"),
    Filters(created_after=LATE),
    Filters(created_before=EARLY),
    Filters(created_after=LATE, created_before=EARLY),
    Filters([FAILED, QUEUED], created_after=LATE),
    Filters(labels=[ANY_TEAM], created_after=LATE, created_before=EARLY),
    Filters([QUEUED, COMPLETED], "nightly", [ANY_TEAM], None, CLOCK, EARLY),
    Filters(idempotency_key="key 4", created_after=LATE),
]
NONE = [
    Filters(labels=[SEARCH, ("team", "ads")]),
    Filters(labels=[("team", "nobody")]),
    Filters(labels=[("nobody", None), SEARCH]),
    Filters(idempotency_key="key 99"),
    Filters(created_after=EARLY, created_before=LATE),
    Filters(created_after=CLOCK + COUNT * 1000),
]


@pytest.mark.both_engines
def test_pages_have_what_passes_every_filter(database: Database) -> None:
    """Of this customer alone, each job once, whatever the length of a page."""
    for filters in [*SOME, *NONE]:
        expected = [number + 1 for number in reversed(range(COUNT)) if passes(job(number), number, filters)]
        assert bool(expected) == (filters in SOME), filters
        for limit in (4, COUNT):
            seen: list[int] = []
            with database.read() as connection:
                while page := read_page(connection, "acme", filters, limit=limit, after=seen[-1] if seen else None):
                    assert len(page) <= limit
                    seen += [each.seq for each in page]
            assert seen == expected, filters


def test_filters_are_the_same_however_they_are_written() -> None:
    """A cursor goes on with these alone; what is not given is none of it, as it was before there was more to give."""
    one = Filters([FAILED, QUEUED, FAILED], labels=[ANY_TEAM, SEARCH, ("a", "x"), SEARCH])
    other = Filters([QUEUED, FAILED], labels=[("a", "x"), SEARCH, ANY_TEAM])

    assert one.canonical() == other.canonical()
    assert ALL.canonical() == {}
    assert Filters([FAILED], "nightly").canonical() == {"status": ["failed"], "name": "nightly"}
    assert Filters(labels=[("a", "")]).canonical() != Filters(labels=[("a", None)]).canonical()
    assert Filters(created_after=0).canonical() != ALL.canonical()
