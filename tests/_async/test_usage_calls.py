"""`client.usage()`: what it asks for, and what it makes of the answer."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qsl

import pytest

import nodus
from nodus._bodies import MAX_PAGE_VALUES
from tests._async.clients import scripted
from tests.support.script import AsyncScript, reply

AMOUNTS = {"jobs": 2, "gpu_seconds": 28800.5, "cost_usd": 31.92, "retail_cost_usd": 55.04, "saved_usd": 23.12}
ANSWER: dict[str, Any] = {
    "from": "2026-10-01T00:00:00.000Z",
    "to": "2026-11-01T00:00:00.000Z",
    "simulated": False,
    "groups": [
        {
            "principal_kind": "agent",
            "kind": None,
            "gpu": "l40s",
            "day": "2026-10-05",
            "month": "2026-10",
            "label:team": "search",
            "label:run": None,
            **AMOUNTS,
            "new": 1,
        }
    ],
    "total": {**AMOUNTS, "retail_cost_usd": None, "saved_usd": None},
}


async def test_the_answer_is_read() -> None:
    """Typed; what was not grouped by is None, and labels are gathered."""
    script = AsyncScript(reply(200, ANSWER))
    async with scripted(script) as client:
        usage = await client.usage()
    (group,) = usage.groups

    assert script.requests[0].url.raw_path == b"/v1/usage"
    assert (usage.from_, usage.to) == (
        datetime(2026, 10, 1, tzinfo=timezone.utc),
        datetime(2026, 11, 1, tzinfo=timezone.utc),
    )
    assert usage.simulated is False
    assert (group.principal_kind, group.gpu, group.day) == ("agent", nodus.GpuType.L40S, date(2026, 10, 5))
    assert (group.supplier, group.kind, group.month) == (None, None, "2026-10")
    assert group.labels == {"team": "search", "run": None}
    assert (group.jobs, group.gpu_seconds, group.cost_usd, group.saved_usd) == (2, 28800.5, 31.92, 23.12)
    assert (usage.total.cost_usd, usage.total.retail_cost_usd) == (31.92, None)


@pytest.mark.parametrize(
    ("asked", "query"),
    [
        ({"month": "2026-10", "group_by": "day"}, {"month": "2026-10", "group_by": "day"}),
        ({"group_by": ["principal_kind", "label:team"]}, {"group_by": "principal_kind,label:team"}),
        ({"from_": date(2026, 10, 1), "to": "2026-10-05"}, {"from": "2026-10-01", "to": "2026-10-05"}),
        (
            {"from_": datetime(2026, 10, 1, 8, tzinfo=timezone(timedelta(hours=2)))},
            {"from": "2026-10-01T06:00:00+00:00"},
        ),
        ({"labels": {"team": "a:b"}, "simulated": False}, {"label": "team:a:b", "simulated": "false"}),
        ({"labels": {"team": None}, "simulated": True}, {"label": "team", "simulated": "true"}),
    ],
)
async def test_the_question_is_asked(asked: dict[str, Any], query: dict[str, str]) -> None:
    """What was not given is left to the server."""
    script = AsyncScript(reply(200, ANSWER))
    async with scripted(script) as client:
        await client.usage(**asked)

    assert dict(parse_qsl(script.requests[0].url.query.decode(), strict_parsing=True)) == query


@pytest.mark.parametrize(
    "asked",
    [
        {"month": "October"},
        {"month": "2026-10", "to": "2026-11-01"},
        {"from_": datetime(2026, 10, 1)},
        {"to": 5},
        {"to": ""},
        {"group_by": "colour"},
        {"group_by": [5]},
        {"labels": {"team": 5}},
    ],
)
async def test_what_is_malformed_is_refused(asked: dict[str, Any]) -> None:
    """Nothing is sent."""
    script = AsyncScript()
    async with scripted(script) as client:
        with pytest.raises(nodus.ValidationError) as caught:
            await client.usage(**asked)

    assert caught.value.code == "invalid_argument"
    assert script.requests == []


async def test_as_many_groups_as_there_may_be_are_read() -> None:
    """Ten thousand of them, with everything that can be grouped by at once; fewer with an old pydantic."""
    count = min(10_000, MAX_PAGE_VALUES // 15)
    group = {**ANSWER["groups"][0], "key": "k" * 36, "supplier": "s", "region": "r", "status": "failed"}
    del group["new"], group["label:team"], group["label:run"]
    script = AsyncScript(reply(200, {**ANSWER, "groups": [group] * count}))
    async with scripted(script) as client:
        usage = await client.usage()

    assert len(usage.groups) == count
