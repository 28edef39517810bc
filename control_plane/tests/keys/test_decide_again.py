"""Anyone can decide placements again, from what a customer is told, and finds a micro-dollar too much."""

from __future__ import annotations

import ast
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from keys import decide_again

from nodus_control.clock import ManualClock
from nodus_control.control_plane import ControlPlane
from nodus_core.spec import parse_spec
from nodus_ledger.errors import BudgetExceeded, NoSupplier, Refused
from nodus_ledger.keys.keys import PrincipalKind

USD = 1_000_000
MOST_LINES = 80


def placements(count: int) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Place so many jobs, with losses, refusals, outages, ceilings and a cap; return answers and rows."""
    chance = random.Random(7)
    plane = ControlPlane("sqlite://", clock=ManualClock(), seed=7)
    minted = plane.keys.mint(
        customer_id="acme", label="", principal_kind=PrincipalKind.AGENT, now=0, monthly_cap=40 * USD, is_test=True
    )
    key = plane.keys.find(minted.api_key)
    assert key is not None
    found: list[tuple[dict[str, Any], dict[str, Any]]] = []
    after = 0
    while len(found) < count:
        spec = {
            "image": "x",
            "gpu": chance.choice(["h100_80gb", "l40s", "a10g"]),
            "gpu_count": chance.randint(1, 8),
            "max_runtime_seconds": chance.randint(60, 7200),
            "require_tiers": chance.choice([[], [], ["hyperscaler"], ["tier3", "neocloud"]]),
            "prefer_region": chance.choice([None, None, "eu", "us-east-1"]),
            "max_cost_usd": chance.choice([None, None, 0.5, 3]),
        }
        try:
            plane.jobs.submit(key, parse_spec(spec), None, plane.clock.now())
        except (BudgetExceeded, NoSupplier):
            plane.advance(86_400)
        except Refused:
            continue
        name = chance.choice(list(plane.catalogue.suppliers))
        plane.set_outage(name, on=chance.random() < 0.3)
        plane.advance(chance.randint(0, 900))
        page = plane.trust_ledger.entries("acme", job_id=None, after=after, limit=1000)
        for entry in page.entries:
            after = entry.seq
            if entry.kind == "attempt.opened":
                row = dict(entry.payload)
                answer = plane.jobs.decision(str(entry.job_id), row["attempt"])
                assert answer is not None
                found.append((answer, row))
    plane.close()
    return found


def hold(count: int) -> None:
    """All agree; and one that is a micro-dollar off is named, whatever it is off by."""
    made = placements(count)
    reasons = {each["rejected"] for answer, _ in made for each in answer["candidates"]}

    assert [fault for answer, row in made for fault in decide_again.check(answer, row)] == []
    assert reasons >= {None, "tier_not_allowed", "outage", "over_max_cost"}
    answer, row = made[-1]
    for name in ("reserved_micros", "micros_per_gpu_hour"):
        assert decide_again.check(answer, {**row, name: row[name] + 1}) != []
    answer["candidates"][0]["micros_per_gpu_hour"] += 1
    assert decide_again.check(answer, row) != []


def test_placements_are_decided_again_by_a_stranger() -> None:
    """A few hundred of them."""
    hold(150)


@pytest.mark.soak
def test_ten_thousand_placements_are() -> None:
    """Likewise."""
    hold(10_000)


def test_the_stranger_is_one() -> None:
    """It imports the standard library alone, and is short."""
    source = Path(decide_again.__file__).read_text(encoding="utf-8")
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(source))
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [each.name for each in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }

    assert imported <= sys.stdlib_module_names
    assert len([line for line in source.splitlines() if line.strip()]) <= MOST_LINES
