"""`nodus usage --focus`: the columns of the FinOps Open Cost and Usage Specification."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from typing import Any

import pytest

from nodus._cli.focus import COLUMNS, DEFAULT_BY, MANDATORY, as_focus, grouping
from nodus._usage import Usage
from tests.cli.conftest import Command
from tests.cli.stub import Answer, Stub
from tests.cli.test_usage import amounts, answer

# https://focus.finops.org/focus-specification/: where these may be null.
MAY_BE_NULL = {"BillingAccountName", "ChargeClass"}

LAB = {"supplier": "lab", "region": "attic", "gpu": "l40s", **amounts(2, 5_400_000, 3_000_001, 5_000_000)}
GROUPS: list[dict[str, Any]] = [
    {"day": "2026-10-31", **LAB},
    {"day": "2026-10-05", **LAB, "supplier": None, "region": None},
]


def charges(usage: dict[str, Any]) -> list[dict[str, str]]:
    """What is written, read again."""
    written = as_focus(Usage.model_validate(usage), account="ledger.acme.com/acme")
    return list(csv.DictReader(io.StringIO(written)))


def test_charges_have_what_is_mandatory() -> None:
    """And nothing twice; what is our own is named so."""
    rows = charges(answer(GROUPS, amounts(4, 10_800_000, 6_000_002, 10_000_000)))

    assert len(set(COLUMNS)) == len(COLUMNS)
    assert list(rows[0]) == list(COLUMNS)
    for row in rows:
        assert {name for name in MANDATORY if not row[name]} == MAY_BE_NULL


def test_a_charge_says_what_when_and_how_much() -> None:
    """Of a day, in the billing period that is its month; the earliest first."""
    first, last = charges(answer(GROUPS, amounts(4, 10_800_000, 6_000_002, 10_000_000)))

    assert (first["ChargePeriodStart"], first["ChargePeriodEnd"]) == ("2026-10-05T00:00:00Z", "2026-10-06T00:00:00Z")
    assert (last["ChargePeriodStart"], last["ChargePeriodEnd"]) == ("2026-10-31T00:00:00Z", "2026-11-01T00:00:00Z")
    assert (last["BillingPeriodStart"], last["BillingPeriodEnd"]) == ("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")
    for name in ("BilledCost", "EffectiveCost", "ContractedCost", "ListCost"):
        assert last[name] == "3.000001"
    assert (last["BillingCurrency"], last["BillingAccountId"]) == ("USD", "ledger.acme.com/acme")
    assert (Decimal(last["PricingQuantity"]), last["PricingUnit"]) == (Decimal("1.5"), "GPU-Hours")
    assert (last["ConsumedQuantity"], last["ConsumedUnit"]) == ("5400.000", "GPU-Seconds")
    assert (last["HostProviderName"], last["RegionId"], last["x_Gpu"]) == ("lab", "attic", "l40s")
    assert last["ChargeDescription"] == "2 GPU jobs on l40s at lab, attic"
    assert (first["HostProviderName"], first["ChargeDescription"]) == ("", "2 GPU jobs on l40s")
    assert (last["x_Jobs"], last["x_RetailCost"], last["x_Simulated"], last["Tags"]) == ("2", "5.00", "false", "")


def test_a_charge_of_a_month_ends_where_the_span_does() -> None:
    """December is followed by January; keys are sub-accounts, labels are tags."""
    group = {"month": "2026-12", "key": "key_1", "label:team": "search", "label:run": None, **amounts(1, 1, 1, None)}
    (row,) = charges(answer([group], group, **{"from": "2026-12-05T00:00:00Z", "to": "2027-01-01T00:00:00Z"}))

    assert (row["ChargePeriodStart"], row["ChargePeriodEnd"]) == ("2026-12-05T00:00:00Z", "2027-01-01T00:00:00Z")
    assert (row["BillingPeriodStart"], row["BillingPeriodEnd"]) == ("2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z")
    assert (row["SubAccountId"], row["SubAccountType"]) == ("key_1", "API key")
    assert json.loads(row["Tags"]) == {"team": "search"}
    assert row["x_RetailCost"] == ""


def test_nothing_is_billed_for_what_is_simulated() -> None:
    """What it would have cost is its list price alone."""
    (row, _) = charges(answer(GROUPS, amounts(4, 10_800_000, 6_000_002, 10_000_000), simulated=True))

    assert (row["BilledCost"], row["EffectiveCost"]) == ("0.00", "0.00")
    assert (row["ListCost"], row["x_Simulated"]) == ("3.000001", "true")


@pytest.mark.parametrize(
    ("by", "expected"),
    [((), DEFAULT_BY), (("key",), ("day", "key")), (("key", "month"), ("key", "month")), (("day",), ("day",))],
)
def test_charges_are_of_a_day_or_a_month(by: tuple[str, ...], expected: tuple[str, ...]) -> None:
    """Whatever else they are grouped by."""
    assert grouping(by) == expected


def test_the_account_is_the_customers_own_log(stub: Stub, nodus: Command) -> None:
    """Its name is nobody else's, here or elsewhere."""
    stub.answer("GET /v1/usage", Answer(200, answer(GROUPS, amounts(4, 1, 1, 1))))
    key = {"origin": "ledger.acme.com/acme", "algorithm": "ed25519", "public_key": "AA==", "vkey": "o+1+AA=="}
    stub.answer("GET /v1/ledger/key", Answer(200, key))
    rows = list(csv.DictReader(io.StringIO(nodus("usage", "--focus").stdout)))

    assert [row["BillingAccountId"] for row in rows] == ["ledger.acme.com/acme"] * 2
    assert stub.requests[0].query == {"group_by": [",".join(DEFAULT_BY)]}
