"""What jobs have cost, added up by the database: as plain Python adds it up, and by an index alone."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from job_rows import row
from servers.engines import POSTGRESQL
from sqlalchemy import Connection, Select, insert, select

from nodus_core.catalogue import Catalogue
from nodus_core.suppliers_reading import read_suppliers
from nodus_core.times import milliseconds
from nodus_core.usage import GROUPINGS, MAX_GROUPS, Question, day_of
from nodus_ledger.database.database import Database
from nodus_ledger.database.schema import job_labels, jobs
from nodus_ledger.errors import TooManyGroups
from nodus_ledger.jobs.usage import Amounts, Usage, sums

pytestmark = pytest.mark.both_engines

BEGINS = milliseconds("2026-10-30T00:00:00.000Z")
ENDS = milliseconds("2026-12-02T12:00:00.001Z")
HOUR = 3_600_000
KINDS = {"lab": "own", "cloud": "neocloud", "other": "neocloud"}
CATALOGUE = Catalogue(
    read_suppliers(
        "".join(
            f'[[supplier]]\nname = "{name}"\nkind = "{kind}"\nregions = ["moon"]\ndriver = "simulated"\n'
            "usd_per_gpu_hour = { l4 = 1 }\n"
            for name, kind in KINDS.items()
        ),
        "x",
    )
)


def ended(number: int, chance: random.Random) -> dict[str, Any]:
    """Make a job that has ended, somewhen around the span."""
    at = chance.choice([BEGINS, ENDS, ENDS - 1, chance.randrange(BEGINS - 48 * HOUR, ENDS + 48 * HOUR)])
    cost = chance.choice([0, 1, chance.randrange(10**12)])
    return {
        **row(number),
        "customer_id": chance.choice(["acme", "acme", "globex"]),
        "key_id": chance.choice(["key_1", "key_2", "key_3"]),
        "principal_kind": chance.choice(["human", "agent"]),
        "status": chance.choice(["completed", "failed", "cancelled"]),
        "supplier": chance.choice([None, "gone", *KINDS]),
        "region": chance.choice([None, "moon", "mars"]),
        "gpu": chance.choice(["l4", "h100_80gb"]),
        "gpu_count": chance.randrange(1, 9),
        "finished_at": at,
        "finished_day": day_of(at),
        "duration_ms": chance.randrange(HOUR),
        "cost": cost,
        "retail": chance.choice([None, cost * 2, cost // 2]),
        "simulated": chance.choice([None, True, False, False]),
        "due_at": None,
    }


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    """Jobs of two customers, simulated and not."""
    chance = random.Random(7)
    return [ended(1000 * 3 + number % 400, chance) | {"id": f"{number:032}"} for number in range(600)]


@pytest.fixture
def labels(rows: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """What labels those jobs have, by their ids."""
    chance = random.Random(11)
    values = {"team": ["", "search", "a:b"], "run": ["1", "2"]}
    return {
        job["id"]: {key: chance.choice(values[key]) for key in chance.sample(list(values), chance.randrange(3))}
        for job in rows
    }


@pytest.fixture
def database(
    kept_database_url: str, rows: list[dict[str, Any]], labels: dict[str, dict[str, str]]
) -> Iterator[Database]:
    """A database with those jobs, and with one that runs."""
    opened = Database(kept_database_url)
    with opened.write() as connection:
        connection.execute(insert(jobs), rows)
        found = connection.execute(select(jobs.c.customer_id, jobs.c.seq, jobs.c.id)).all()
        connection.execute(
            insert(job_labels),
            [
                {"customer_id": customer_id, "seq": seq, "key": key, "value": value}
                for customer_id, seq, id in found
                for key, value in labels[id].items()
            ],
        )
        connection.execute(insert(jobs), [row(500) | {"id": "lives"}])
    yield opened
    opened.close()


def value_of(name: str, job: dict[str, Any], labels: dict[str, str]) -> str | None:
    """What a job has in common with others of its group."""
    if name.startswith("label:"):
        return labels.get(name.removeprefix("label:"))
    if name == "kind":
        return KINDS.get(job["supplier"])
    date = datetime.fromtimestamp(job["finished_at"] / 1000, timezone.utc)
    if name in ("day", "month"):
        return f"{date:%Y-%m-%d}" if name == "day" else f"{date:%Y-%m}"
    found: str | None = job["key_id" if name == "key" else name]
    return found


def added_up(
    rows: list[dict[str, Any]], labels: dict[str, dict[str, str]], question: Question, key_id: str | None
) -> dict[Any, Amounts]:
    """Add jobs up, one by one."""
    groups: dict[Any, Amounts] = defaultdict(Amounts)
    for job in rows:
        own = labels[job["id"]]
        if (
            job["customer_id"] == "acme"
            and question.begins_at <= job["finished_at"] < question.ends_at
            and (job["simulated"] is not False) is question.simulated
            and key_id in (None, job["key_id"])
            and all(key in own and value in (None, own[key]) for key, value in question.labels)
        ):
            is_priced = job["retail"] is not None
            groups[tuple(value_of(name, job, own) for name in question.group_by)].add(
                Amounts(
                    1,
                    job["gpu_count"] * job["duration_ms"],
                    job["cost"],
                    int(is_priced),
                    job["retail"] if is_priced else 0,
                    job["retail"] - job["cost"] if is_priced else 0,
                )
            )
    return dict(groups)


@pytest.mark.parametrize("simulated", [True, False])
def test_sums_are_those_of_the_jobs(
    database: Database,
    rows: list[dict[str, Any]],
    labels: dict[str, dict[str, str]],
    simulated: bool,
) -> None:
    """Whatever they are grouped by, to the micro-dollar and the millisecond; the dearest first."""
    usage = Usage(database, CATALOGUE)
    chance = random.Random(3)
    asked = [(), *((name,) for name in GROUPINGS), ("principal_kind", "day"), ("day", "principal_kind"), GROUPINGS]
    anything = [*GROUPINGS, "label:team", "label:run"]
    asked += [("label:team",), ("label:run", "day", "label:team")]
    asked += [tuple(chance.sample(anything, chance.randrange(2, 5))) for _ in range(12)]
    for group_by in asked:
        key_id = chance.choice([None, None, "key_2"])
        begins_at = chance.choice([BEGINS, BEGINS + 1, BEGINS - 5 * HOUR])
        ends_at = chance.choice([ENDS, ENDS - 1, ENDS + HOUR])
        wanted = chance.choice([(), (), (("team", None),), (("team", "search"),), (("run", "1"), ("team", None))])
        question = Question(begins_at, ends_at, tuple(group_by), simulated, wanted)
        report = usage.report("acme", question, key_id=key_id)
        expected = added_up(rows, labels, question, key_id)
        total = Amounts()
        for amounts in expected.values():
            total.add(amounts)

        assert {group.values: group.amounts for group in report.groups} == expected
        assert report.total == total
        assert total.jobs > 0
        assert [group.amounts.cost for group in report.groups] == sorted(
            (group.amounts.cost for group in report.groups), reverse=True
        )


def test_where_nothing_ended_there_are_no_groups(database: Database) -> None:
    """And the total is nothing."""
    report = Usage(database, CATALOGUE).report("acme", Question(0, BEGINS - 100 * HOUR))

    assert (report.groups, report.total) == ([], Amounts())


def test_an_index_has_all_that_is_asked_for(database: Database, engine: str) -> None:
    """No row of the table is read for it, and on SQLite nothing is sorted but sums."""
    with database.write() as connection:
        for group_by in [(), ("principal_kind", "day"), ("gpu",), ("month", "kind"), GROUPINGS]:
            plan = plan_of(connection, sums("acme", Question(BEGINS, ENDS, group_by)))
            if engine == POSTGRESQL:
                assert '"Index Only Scan"' in plan, plan
                assert "jobs_by_day" in plan
            else:
                index = "USING COVERING INDEX jobs_by_day (customer_id=? AND finished_day>?"
                before, _, after = plan.partition(index)
                assert after, plan
                assert "TEMP B-TREE" not in before, plan
                assert plan.count("TEMP B-TREE") <= 1, plan


def plan_of(connection: Connection, query: Select[Any]) -> str:
    """Explain a query, in the words of the engine."""
    said = str(query.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True}))
    if connection.dialect.name == "sqlite":
        return "\n".join(str(step[3]) for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {said}"))
    # So few rows are as easily read from the table: what matters is that the index would do.
    connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
    connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
    return json.dumps(connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {said}").scalar())


def test_more_groups_than_an_answer_may_have_are_refused(database: Database) -> None:
    """Rather than cut off: sums that do not add up would be wrong."""
    chance = random.Random(1)
    job = {**ended(1001, chance), "customer_id": "acme", "simulated": False, "finished_day": day_of(BEGINS)}
    job["finished_at"] = BEGINS
    usage = Usage(database, CATALOGUE)
    with database.write() as connection:
        connection.execute(
            insert(jobs),
            [{**job, "id": f"many-{number}", "key_id": f"many-{number}"} for number in range(MAX_GROUPS + 1)],
        )
    for group_by in (("key",), ("month", "key"), ("kind", "key")):
        with pytest.raises(TooManyGroups):
            usage.report("acme", Question(BEGINS, ENDS, group_by))

    assert usage.report("acme", Question(BEGINS, ENDS, ("region",))).total.jobs > MAX_GROUPS
