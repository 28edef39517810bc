"""Statements: the rows of a month, their proof, and what they cost."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select
from trust_ledger.history import key_of, submit

from nodus import _merkle as verifier
from nodus_control.testing import LocalControlPlane
from nodus_core.months import Month, parse_month
from nodus_core.spec import parse_spec
from nodus_core.times import milliseconds, timestamp
from nodus_ledger.database.schema import attempts
from nodus_ledger.keys.keys import PrincipalKind
from nodus_ledger.trust import statements as writing
from nodus_ledger.trust.log import Entry, append_all

CUSTOMER = "acme ☃"
OCTOBER = parse_month("2026-10")
LATER = parse_month("2099-06").start


def at(text: str) -> int:
    """A moment, in Unix milliseconds."""
    return milliseconds(f"{text}.000Z")


def settled(when: int, cost: int, *, principal: str = "human", **payload: object) -> Entry:
    """A row that settles a job of CUSTOMER."""
    about = {"simulated": False, "cost_micros": cost, **payload}
    return Entry(CUSTOMER, "job.settled", when, about, "job-1", "key-1", principal)


def noted(when: int) -> Entry:
    """Another row."""
    return Entry(CUSTOMER, "job.transition", when, {"status": "running"}, "job-1", "key-1", "human")


def record(control_plane: LocalControlPlane, *entries: Entry) -> None:
    with control_plane.plane.database.write() as connection:
        append_all(connection, entries)


def statement_of(
    control_plane: LocalControlPlane, month: Month = OCTOBER, *, customer: str = CUSTOMER, now: int = LATER
) -> list[dict[str, Any]]:
    """Write a statement; return its lines, parsed."""
    statements = control_plane.plane.statements
    text = b"".join(statements.written(statements.begin(customer, month, now))).decode()
    assert text.endswith("\n")
    return [json.loads(line) for line in text[:-1].split("\n")]


def seqs(lines: list[dict[str, Any]]) -> list[int]:
    return [json.loads(line["leaf"])["seq"] for line in lines[1:-1]]


def proved(row: Mapping[str, Any], hashes: list[str], checkpoint: Mapping[str, Any]) -> bool:
    leaf = verifier.leaf_hash(row["leaf"].encode())
    index = json.loads(row["leaf"])["seq"] - 1
    path = [bytes.fromhex(each) for each in hashes]
    return verifier.inclusion_holds(leaf, index, checkpoint["size"], path, bytes.fromhex(checkpoint["root_hash"]))


@pytest.mark.both_engines
def test_a_statement_has_the_rows_of_its_month_and_what_they_cost(control_plane: LocalControlPlane) -> None:
    """From the first to the last whose time is in the month, whatever stands in between; both proved."""
    record(
        control_plane,
        noted(at("2026-09-30T23:59:59")),
        settled(at("2026-10-01T00:00:00"), 1_000_000, principal="agent"),
        settled(at("2026-09-30T23:00:00"), 16),
        settled(at("2026-10-31T23:59:59"), 20, simulated=True),
        settled(at("2026-11-01T00:00:00"), 32),
        # An engine that was out of reach told late.
        settled(at("2026-10-20T00:00:00"), 3, principal="agent"),
        noted(at("2026-11-02T00:00:00")),
    )
    header, *rows, trailer = lines = statement_of(control_plane)
    checkpoint = trailer["checkpoint"]

    assert header == {
        "origin": control_plane.plane.trust_ledger.origin_of(CUSTOMER),
        "customer_id": CUSTOMER,
        "month": "2026-10",
        "first_seq": 2,
        "last_seq": 6,
    }
    assert seqs(lines) == [2, 3, 4, 5, 6]
    assert trailer["totals"] == {
        "jobs": 3,
        "cost_micros": 1_000_023,
        "by_principal_kind": {
            "agent": {"jobs": 2, "cost_micros": 1_000_003},
            "human": {"jobs": 1, "cost_micros": 20},
        },
        "simulated": {"jobs": 1, "cost_micros": 20},
    }
    assert checkpoint["size"] == 7
    assert proved(rows[0], trailer["proof"]["first"], checkpoint)
    assert proved(rows[-1], trailer["proof"]["last"], checkpoint)
    assert trailer["final"] is True


def test_months_without_rows_have_a_header_and_a_trailer(control_plane: LocalControlPlane) -> None:
    """Before the first row, after the last, between two; and of a log that was never begun."""
    record(control_plane, noted(at("2026-09-30T00:00:00")), noted(at("2026-11-30T00:00:00")))
    asked = [statement_of(control_plane, parse_month(month)) for month in ("2026-08", "2026-10", "2026-12")]
    nobodys = statement_of(control_plane, customer="nobody")

    for header, trailer in (*asked, nobodys):
        assert (header["first_seq"], header["last_seq"], trailer["proof"]) == (None, None, None)
        assert trailer["totals"]["jobs"] == 0
    assert asked[0][1]["checkpoint"]["size"] == 2
    assert nobodys[1]["checkpoint"]["size"] == 0


def test_a_month_is_final_when_it_is_over_and_written_down(control_plane: LocalControlPlane) -> None:
    """Not before what happened in its last moments can have been written."""
    finals = [
        statement_of(control_plane, now=OCTOBER.end + more)[-1]["final"]
        for more in (-1, 0, writing.WRITTEN_AFTER_MS - 1, writing.WRITTEN_AFTER_MS)
    ]

    assert finals == [False, False, False, True]


@pytest.mark.both_engines
def test_a_month_is_not_final_while_an_attempt_is_unheard_of(control_plane: LocalControlPlane) -> None:
    """It may have ended within the month; one that was heard of since cannot have, nor one of somebody else."""
    plane = control_plane.plane
    key = key_of(control_plane, control_plane.api_key)
    steered = {"NODUS_SIM_DURATION_SECONDS": "80000"}
    spec = parse_spec({"image": "train:v3", "gpu": "l40s", "env": steered, "max_runtime_seconds": 86_400})
    plane.jobs.submit(key, spec, "job", plane.clock.now())
    control_plane.advance(600)
    with plane.database.read() as connection:
        heard = connection.execute(select(func.coalesce(attempts.c.seen_at, attempts.c.placed_at))).scalar_one()
    finals = [
        plane.statements.begin(customer, Month("now", 0, end), LATER).is_final
        for customer, end in ((key.customer_id, heard), (key.customer_id, heard + 1), (CUSTOMER, heard + 1))
    ]

    assert finals == [True, False, True]


def test_rows_of_any_number_are_written_page_by_page(
    control_plane: LocalControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever rows begin and end a page, and whatever is written meanwhile."""
    monkeypatch.setattr(writing, "PAGE_ROWS", 3)
    monkeypatch.setattr(writing, "SEARCHED_ROWS", 4)
    before, after = at("2026-09-01T00:00:00"), at("2026-11-01T00:00:00")
    record(control_plane, *(noted(before) for _ in range(5)))
    for count in range(1, 9):
        record(control_plane, settled(at("2026-10-05T00:00:00"), count))
        statements = control_plane.plane.statements
        written = statements.written(statements.begin(CUSTOMER, OCTOBER, LATER))
        record(control_plane, noted(after))
        lines = [json.loads(line) for line in b"".join(written).decode().split("\n")[:-1]]

        assert (lines[0]["first_seq"], lines[0]["last_seq"]) == (6, 4 + 2 * count)
        assert seqs(lines) == list(range(6, 5 + 2 * count))
        assert lines[-1]["totals"]["cost_micros"] == sum(range(1, count + 1))


def test_memory_does_not_grow_with_the_month(control_plane: LocalControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held at any time is a page, not the month."""
    monkeypatch.setattr(writing, "PAGE_ROWS", 20)
    record(control_plane, *(noted(at("2026-10-05T00:00:00")) for _ in range(1000)))
    statements = control_plane.plane.statements
    statement = statements.begin(CUSTOMER, OCTOBER, LATER)
    total = sum(map(len, statements.written(statement)))  # what is kept for the next time is there before
    tracemalloc.start()
    try:
        written = sum(map(len, statements.written(statement)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert written == total > 200_000
    assert peak < total / 2


async def asked(control_plane: LocalControlPlane, api_key: str, **params: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=control_plane.asgi_app)
    headers = {"Authorization": f"Bearer {api_key}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
        return await client.get("/v1/ledger/statement", params=params)


@pytest.mark.anyio
@pytest.mark.both_engines
async def test_a_statement_is_answered_line_by_line(control_plane: LocalControlPlane) -> None:
    """It has every row there is, of a log that began this month; its sums are those of the rows."""
    key = key_of(control_plane, control_plane.api_key)
    submit(control_plane, key, 1)
    control_plane.advance(3600)
    month = timestamp(control_plane.plane.clock.now())[:7]
    answer = await asked(control_plane, control_plane.api_key, month=month)
    lines = [json.loads(line) for line in answer.text.split("\n")[:-1]]
    page = control_plane.plane.trust_ledger.entries(key.customer_id, job_id=None, after=0, limit=100)
    of_month = [entry for entry in page.entries if entry.at.startswith(month)]
    costs = [entry.payload["cost_micros"] for entry in of_month if entry.kind == "job.settled"]

    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["cache-control"] == "no-store"
    assert [line["leaf"] for line in lines[1:-1]] == [
        entry.leaf for entry in page.entries if of_month[0].seq <= entry.seq <= of_month[-1].seq
    ]
    assert len(costs) == lines[-1]["totals"]["jobs"] == 1
    assert lines[-1]["totals"]["cost_micros"] == sum(costs)
    assert lines[-1]["final"] is False


@pytest.mark.anyio
async def test_what_is_no_month_and_whoever_is_an_agent_are_refused(control_plane: LocalControlPlane) -> None:
    """A month must be named; what all keys did is not for an agent."""
    agent = control_plane.plane.keys.mint(
        customer_id="acme", label="agent", principal_kind=PrincipalKind.AGENT, now=0, is_test=True
    )
    answers = [
        await asked(control_plane, control_plane.api_key),
        await asked(control_plane, control_plane.api_key, month="2026-13"),
        await asked(control_plane, agent.api_key, month="2026-10"),
    ]

    assert [(answer.status_code, answer.json()["error"]) for answer in answers] == [
        (422, "invalid_query"),
        (422, "invalid_query"),
        (403, "forbidden_principal"),
    ]
