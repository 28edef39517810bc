"""A cursor says nothing to whoever holds it, and continues one listing only."""

from __future__ import annotations

import base64

import pytest

from nodus_ledger.database.cursors import Cursors
from nodus_ledger.database.sealing import Sealer
from nodus_ledger.errors import UnusableCursor

SEALER = Sealer(bytes(32))
JOBS = Cursors(SEALER, "jobs")


@pytest.mark.parametrize("seq", [1, 255, 2**40, 2**63 - 1])
def test_it_leads_back_to_its_row(seq: int) -> None:
    """A cursor is good for its owner, in the listing that it came from."""
    assert JOBS.read("acme", JOBS.make("acme", seq)) == seq


def test_it_does_not_tell_how_many_rows_there_are() -> None:
    """Of all customers: two of the same row differ, two of distant rows look alike."""
    first, second, distant = JOBS.make("acme", 7), JOBS.make("acme", 7), JOBS.make("acme", 2**50)
    content = base64.urlsafe_b64decode(first + "=" * (-len(first) % 4))

    assert first != second
    assert len(first) == len(distant)
    assert (7).to_bytes(8, "big") not in content


@pytest.mark.parametrize("cursor", ["", "ajE", "zzz", "%", "☃", "A" * 500, JOBS.make("acme", 7)[:-2], "AQ=="])
def test_what_no_page_gave_is_refused(cursor: str) -> None:
    """A cursor that was made up is an error."""
    with pytest.raises(UnusableCursor):
        JOBS.read("acme", cursor)


@pytest.mark.parametrize(
    "other", [Cursors(SEALER, "deliveries"), Cursors(Sealer(bytes([1]) * 32), "jobs")], ids=["listing", "key"]
)
def test_it_continues_no_other_listing(other: Cursors) -> None:
    """Of another kind, of another owner, or under another key."""
    cursor = JOBS.make("acme", 7)

    with pytest.raises(UnusableCursor):
        other.read("acme", cursor)
    with pytest.raises(UnusableCursor):
        JOBS.read("globex", cursor)


def test_it_continues_a_listing_by_the_same_filters_only() -> None:
    """In whatever order they are named; and no owner's name can pass for a filter."""
    filters = {"status": ["queued"], "x": "y"}
    cursor = JOBS.make("acme", 7, filters)

    assert JOBS.read("acme", cursor, {"x": "y", "status": ["queued"]}) == 7
    for other in (None, {}, {"status": ["queued"]}, {**filters, "x": "z"}):
        with pytest.raises(UnusableCursor):
            JOBS.read("acme", cursor, other)
    with pytest.raises(UnusableCursor):
        JOBS.read('where {"status":["queued"],"x":"y"} of acme', cursor)


def test_one_without_filters_is_as_it_always_was() -> None:
    """Whoever was reading a listing during an upgrade goes on."""
    assert JOBS.read("acme", JOBS.make("acme", 7, {})) == JOBS.read("acme", JOBS.make("acme", 7), {}) == 7
