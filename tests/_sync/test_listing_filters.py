# Generated from tests/_async/test_listing_filters.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""Filters of listings: what is sent, and what is left out of what a server sends in spite of them."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest

import nodus
from tests._sync.clients import scripted
from tests.support.script import Script, job, reply


def test_a_listing_can_be_of_labels_and_of_a_time() -> None:
    """On every page; a label is repeated, and a time of any zone is sent in UTC."""
    labels = {"team": "search: 夜", "gpu-test": ""}
    one = job(id="1", labels=labels, created_at="2026-11-24T08:00:00.000Z")
    pages = [{"jobs": [one], "next_cursor": "c"}, {"jobs": [one], "next_cursor": None}]
    script = Script(*[reply(200, page) for page in pages], then=reply(200, pages[1]))
    since = datetime(2026, 11, 24, 9, tzinfo=timezone(timedelta(hours=1)))
    wanted: dict[str, str | None] = {"team": "search: 夜", "gpu-test": None}
    with scripted(script) as client:
        iterated = [each.labels for each in client.iter_jobs(page_size=1, labels=wanted, created_after=since)]
        listed = client.list(labels={"gpu-test": ""}, created_after="2026-11-24", created_before=date(2026, 11, 25))

    assert iterated == [labels, labels]
    assert [each.labels for each in listed] == [labels]
    filters = b"label=team%3Asearch%3A+%E5%A4%9C&label=gpu-test&created_after=2026-11-24T08%3A00%3A00%2B00%3A00"
    assert [request.url.query for request in script.requests] == [
        b"limit=1&" + filters,
        b"limit=1&cursor=c&" + filters,
        b"limit=50&label=gpu-test%3A&created_after=2026-11-24&created_before=2026-11-25",
    ]


def test_jobs_that_a_server_sends_in_spite_of_filters_are_left_out() -> None:
    """An older one ignores those that it does not know; what it does not say is not what was asked for."""
    at = "2026-11-24T08:00:00.500"
    jobs = [
        job(id="right", labels={"team": "search", "more": "x"}, created_at=f"{at}Z"),
        job(id="zone", labels={"team": "search"}, created_at=f"{at}+00:00"),
        job(id="no zone", labels={"team": "search"}, created_at=at),
        job(id="other", labels={"team": "ads"}, created_at=f"{at}Z"),
        job(id="none", created_at=f"{at}Z"),
        job(id="null", labels=None, created_at=f"{at}Z"),
        job(id="early", labels={"team": "search"}, created_at="2026-11-24T08:00:00.499Z"),
        job(id="late", labels={"team": "search"}, created_at="2026-11-24T08:00:00.501Z"),
        job(id="no time", labels={"team": "search"}),
    ]
    script = Script(then=reply(200, {"jobs": jobs, "next_cursor": None}))
    with scripted(script) as client:
        found = client.list(
            labels={"team": "search"},
            created_after="2026-11-24T10:00:00.4999999+02:00",
            created_before="2026-11-24T08:00:00.501Z",
        )
        of_any = client.list(labels={"team": None})

    assert [each.id for each in found] == ["right", "zone", "no zone"]
    assert {each.id for each in of_any} == {"right", "zone", "no zone", "other", "early", "late", "no time"}


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"labels": "team"}, "`labels` must be a mapping"),
        ({"labels": {"Team": "x"}}, "`labels` must have keys of 1 to 63"),
        ({"labels": {"team": 7}}, "`labels` must have, as the value of 'team', a string"),
        ({"created_after": datetime(2026, 11, 24)}, "`created_after` must have a time zone"),  # on purpose
        ({"created_after": "24h"}, "`created_after` must be a datetime"),
        ({"created_before": "2026-11-31"}, "`created_before` must be a datetime"),
        ({"created_before": "2026-11-24T08:00:00"}, "`created_before` must be a datetime"),
        ({"created_before": 7}, "`created_before` must be a datetime"),
    ],
)
def test_what_no_job_can_have_is_refused_before_sending(filters: Any, message: str) -> None:
    """With the rule."""
    script = Script()
    with scripted(script) as client:
        with pytest.raises(nodus.ValidationError, match=message) as listing:
            client.list(**filters)
        with pytest.raises(nodus.ValidationError):
            client.iter_jobs(**filters)

    assert listing.value.code == "invalid_argument"
    assert script.requests == []
