"""What is billed is held against the ledger: every difference has a name, and every name is of a difference."""

from __future__ import annotations

import pytest

from nodus_ledger.verification.billing import BillingTally, GapRow
from nodus_ledger.verification.logs import Row

MINUTE = 1_800_000_000
AT = "2027-01-15T08:00:00.000Z"


def row(kind: str) -> Row:
    """A row of the ledger of a kind."""
    values = {"customer_id": "acme", "seq": 3, "kind": kind}
    return Row(**{name: values.get(name) for name in Row._fields})  # type: ignore[arg-type]


def named(identifier: str | None, amount: int) -> dict[str, object]:
    """What a row says that names a difference."""
    return {"identifier": identifier, "amount_micros": amount, "minute": AT, "simulated": False}


def test_what_was_spent_is_billed_or_waits_or_is_named() -> None:
    """In micro-USD, by customer; what is simulated is nobody's bill."""
    tally = BillingTally()
    faults = [
        *tally.add(row("meter.rejected"), named("job_2", 20)),
        *tally.add(row("meter.unknown"), named(None, 3)),
        *tally.event("acme", "job_1", "delivered", 10, is_live=True),
        *tally.event("acme", "job_2", "rejected", 20, is_live=True),
        *tally.event("acme", "job_3", "pending", 30, is_live=True),
        *tally.event("acme", "job_4", "skipped", 40, is_live=True),
        *tally.event("acme", "job_5", "delivered", 50, is_live=False),
        *tally.gap(GapRow("acme", MINUTE, 3)),
        *tally.rest(),
    ]
    billing = tally.billings()["acme"]

    assert faults == []
    assert (billing.spent, billing.delivered, billing.pending, billing.skipped) == (100, 7, 30, 40)
    assert billing.differences == [
        f"3 micro-USD of the minute {AT}: meter.unknown",
        "20 micro-USD of the event job_2: rejected",
    ]


@pytest.mark.parametrize(
    ("state", "rows", "gaps", "expected"),
    [
        ("rejected", [], [], "'rejected', and the ledger says nothing of it"),
        ("delivered", [("meter.rejected", "job_1", 5)], [], "the ledger says 'rejected' of 5"),
        ("rejected", [("meter.too_old", "job_1", 5)], [], "the ledger says 'too_old' of 5"),
        ("rejected", [("meter.rejected", "job_1", 6)], [], "the ledger says 'rejected' of 6"),
        ("rejected", [("meter.rejected", "job_1", 5)] * 2, [], "is named twice"),
        ("delivered", [("meter.rejected", "job_2", 5)], [], "job_2 is in the ledger alone"),
        ("delivered", [("meter.unknown", None, 5)], [], "differs from the ledger by 5"),
        ("delivered", [], [5], "differs from the ledger by -5"),
    ],
)
def test_what_is_named_in_one_place_alone_is_a_fault(
    state: str, rows: list[tuple[str, str | None, int]], gaps: list[int], expected: str
) -> None:
    """The ledger and the tables say the same, to the micro-dollar."""
    tally = BillingTally()
    faults = [fault for kind, identifier, amount in rows for fault in tally.add(row(kind), named(identifier, amount))]
    faults += tally.event("acme", "job_1", state, 5, is_live=True)
    faults += [fault for amount in gaps for fault in tally.gap(GapRow("acme", MINUTE, amount))]
    faults += tally.rest()

    assert len(faults) == 1
    assert expected in faults[0].what
