"""`nodus usage`: a table that adds up, rows for programs, CSV for spreadsheets."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus._cli.usage import as_csv, span, table, text_cell
from nodus._usage import Usage
from tests.cli.conftest import Command
from tests.cli.stub import Answer, Stub

USAGE = "GET /v1/usage"


def amounts(jobs: int, milliseconds: int, cost: int, retail: int | None) -> dict[str, Any]:
    """What some jobs come to, from whole milliseconds and micro-dollars."""
    return {
        "jobs": jobs,
        "gpu_seconds": milliseconds / 1000,
        "cost_usd": cost / 1e6,
        "retail_cost_usd": None if retail is None else retail / 1e6,
        "saved_usd": None if retail is None else (retail - cost) / 1e6,
    }


def answer(groups: list[dict[str, Any]], total: dict[str, Any], **more: object) -> dict[str, Any]:
    """An answer of the server."""
    return {
        "from": "2026-10-01T00:00:00.000Z",
        "to": "2026-11-01T00:00:00.000Z",
        "simulated": False,
        "groups": groups,
        "total": total,
        **more,
    }


TWO = answer(
    [
        {"principal_kind": "agent", "supplier": "lab", **amounts(1200, 28_800_500, 1_234_500_001, 2_000_000_000)},
        {"principal_kind": "human", "supplier": None, **amounts(1, 0, 0, None)},
    ],
    amounts(1201, 28_800_500, 1_234_500_001, 2_000_000_000),
)


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person reads."""
    monkeypatch.setattr("nodus._cli.output._is_terminal", lambda stream: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")


@pytest.mark.usefixtures("on_a_terminal")
def test_people_get_a_table_that_adds_up(stub: Stub, nodus: Command) -> None:
    """Numbers end under each other, and what is unknown is a dash."""
    stub.answer(USAGE, Answer(200, TWO))
    result = nodus("usage", "--month", "2026-10", "--by", "principal_kind,supplier", "--by", "supplier")

    assert result.stdout.splitlines() == [
        "2026-10-01 to 2026-11-01, UTC, exclusive",
        "PRINCIPAL KIND  SUPPLIER   JOBS  GPU-SECONDS           COST  VS RETAIL        SAVED",
        "agent           lab       1,200   28,800.500  $1,234.500001  $2,000.00  $765.499999",
        "human           -             1        0.000      $0.000000          -            -",
        "total                     1,201   28,800.500  $1,234.500001  $2,000.00  $765.499999",
    ]
    assert stub.requests[0].query == {"month": ["2026-10"], "group_by": ["principal_kind,supplier"]}


@pytest.mark.usefixtures("on_a_terminal")
def test_without_groups_people_get_the_total(stub: Stub, nodus: Command) -> None:
    """And the word, where nobody pays it."""
    stub.answer(
        USAGE, Answer(200, answer([amounts(2, 500, 21_858, None)], amounts(2, 500, 21_858, None), simulated=True))
    )
    result = nodus("usage", "--simulated", "--label", "team=a=b", "--label", "gpu-test")

    assert result.stdout.splitlines()[1:] == [
        "jobs         2",
        "GPU-seconds  0.500",
        "cost         $0.021858",
        "simulated: nothing was charged",
    ]
    assert stub.requests[0].query == {"simulated": ["true"], "label": ["team:a=b", "gpu-test"]}


def test_programs_get_rows_of_plain_numbers(stub: Stub, nodus: Command) -> None:
    """Tabs between the columns, what is not known is empty, and there is no total among them."""
    stub.answer(USAGE, Answer(200, TWO))

    assert nodus("usage", "--by", "principal_kind,supplier").stdout.splitlines() == [
        "agent\tlab\t1200\t28800.500\t1234.500001\t2000.00\t765.499999\tno",
        "human\t\t1\t0.000\t0.00\t\t\tno",
    ]


def test_programs_get_json(stub: Stub, nodus: Command) -> None:
    """One object, with no more members in a group than were asked for."""
    stub.answer(USAGE, Answer(200, TWO))
    shown = json.loads(nodus("usage", "--by", "principal_kind,supplier", "--json").stdout)

    assert shown["total"] == TWO["total"]
    assert shown["groups"] == TWO["groups"]
    assert (shown["from"], shown["simulated"]) == ("2026-10-01T00:00:00Z", False)


def test_spreadsheets_get_csv(stub: Stub, nodus: Command) -> None:
    """With a header; amounts are numbers, negative ones too."""
    group = {"key": "k,1", "label:team": "=1+1", **amounts(1, 1500, 3_000_000, 1)}
    stub.answer(USAGE, Answer(200, answer([group], group)))
    result = nodus("usage", "--by", "key,label:team", "--csv")

    assert result.stdout.splitlines() == [
        "key,label:team,jobs,gpu_seconds,cost_usd,retail_cost_usd,saved_usd,simulated",
        '"k,1",\'=1+1,1,1.500,3.00,0.000001,-2.999999,no',
    ]


def test_no_jobs_are_said(stub: Stub, nodus: Command) -> None:
    """On stderr, for people."""
    stub.answer(USAGE, Answer(200, answer([], amounts(0, 0, 0, 0))))
    result = nodus("usage", "--from", "2026-10-01", "--to", "2026-10-02T00:00:00Z")

    assert (result.status, result.stdout, result.stderr) == (0, "", "No jobs ended in that time.\n")
    assert stub.requests[0].query == {"from": ["2026-10-01"], "to": ["2026-10-02T00:00:00Z"]}


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--csv", "--json"], 2),
        (["--focus", "--csv"], 2),
        (["--month", "2026-10", "--to", "2026-11-01"], 2),
        (["--label", "team=x", "--label", "team"], 2),
        (["--label", "=x"], 5),
        (["--by", "colour"], 5),
        (["--month", "October"], 5),
    ],
)
def test_what_makes_no_sense_is_refused(stub: Stub, nodus: Command, arguments: list[str], status: int) -> None:
    """Nothing is sent."""
    assert nodus("usage", *arguments).status == status
    assert stub.requests == []


micros = st.integers(0, 10**13)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**12), micros, micros), min_size=1, max_size=6))
def test_a_tables_rows_add_up_to_its_last(parts: list[tuple[int, int, int, int]]) -> None:
    """Every column of it, to the last decimal that is shown."""
    groups = [{"key": f"k{at}", **amounts(*part)} for at, part in enumerate(parts)]
    whole = [sum(part[at] for part in parts) for at in range(4)]
    usage = Usage.model_validate(answer(groups, amounts(*whole)))
    _, *rows, total = [line.split() for line in table(usage, ["key"], width=200)]

    for column in range(1, 6):
        numbers = [Decimal(cells[column].replace("$", "").replace(",", "")) for cells in [*rows, total]]
        assert sum(numbers[:-1]) == numbers[-1]


@given(st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1))
def test_no_cell_is_a_formula(value: str) -> None:
    """Whatever people write into a label; and the cell still says what it said."""
    group = {"label:team": value, **amounts(1, 0, 0, 0)}
    written = as_csv(Usage.model_validate(answer([group], group)), ["label:team"])
    _, (cell, *_) = csv.reader(io.StringIO(written))

    assert cell[0] not in "=+-@\t\r"
    assert cell.removeprefix("'") == value.removeprefix("'")
    assert text_cell(cell) == cell


def test_a_span_is_named() -> None:
    """Days by their dates."""
    whole = answer([], amounts(0, 0, 0, 0))

    assert span(Usage.model_validate(whole)) == "2026-10-01 to 2026-11-01, UTC, exclusive"
    assert span(Usage.model_validate({**whole, "to": "2026-10-05T08:00:00Z"})).startswith(
        "2026-10-01 to 2026-10-05T08:00:00Z"
    )
