"""A cap holds at every instant, whatever comes at once and however many processes answer; and it wastes nothing."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from hosted.processes import Hosted
from patience import PATIENCE_SECONDS, eventually
from servers.engines import POSTGRESQL, SQLITE
from sqlalchemy import func, select, text

from nodus_control.control_plane import ControlPlane
from nodus_core.money import usd
from nodus_ledger.database.database import Database
from nodus_ledger.database.schema import jobs, monthly_spend, reservations
from nodus_ledger.keys.keys import MintedKey, PrincipalKind
from nodus_ledger.verification.verify import verify

CAP = 25_000_000
SUBMISSIONS = 200
AT_ONCE = 50
"""More than a process works on at once, and so few that none is cut off: it has 10 s to send its request."""

# What one of these may cost is no divisor of the cap, so that the last one that fits leaves something over.
SPEC = {"image": "x", "gpu": "h100_80gb", "max_runtime_seconds": 1140}
# Fits the cap once.
FILLING = {**SPEC, "gpu_count": 8, "max_runtime_seconds": 6860}

_RECORDING_ON_SQLITE = (
    "CREATE TRIGGER record AFTER UPDATE OF in_flight ON reservations "
    "BEGIN INSERT INTO recorded VALUES (NEW.in_flight); END",
)
_RECORDING_ON_POSTGRESQL = (
    "CREATE FUNCTION record() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN INSERT INTO recorded VALUES (NEW.in_flight); RETURN NULL; END $$",
    "CREATE TRIGGER record AFTER UPDATE OF in_flight ON reservations FOR EACH ROW EXECUTE FUNCTION record()",
)


@pytest.fixture
def recorded(here: ControlPlane) -> Iterator[Database]:
    """The database, which writes down every amount that is ever reserved under a key."""
    database = here.database
    statements = _RECORDING_ON_POSTGRESQL if database.is_server else _RECORDING_ON_SQLITE
    with database.write() as connection:
        for statement in ("CREATE TABLE recorded (in_flight BIGINT)", *statements):
            connection.execute(text(statement))
    yield database
    if database.is_server:
        with database.write() as connection:
            connection.execute(text("DROP FUNCTION record CASCADE"))
            connection.execute(text("DROP TABLE recorded"))


def mint(control_plane: ControlPlane) -> MintedKey:
    """Make an agent's key, capped at $25."""
    return control_plane.keys.mint(
        customer_id="acme",
        label="",
        principal_kind=PrincipalKind.AGENT,
        now=control_plane.clock.now(),
        monthly_cap=CAP,
        is_test=True,
    )


@contextmanager
def watching(database: Database, key_id: str) -> Iterator[list[int]]:
    """Read the key's month over and over, from before the block until after it; return all that was seen."""
    seen: list[int] = []
    is_over = threading.Event()
    realised = select(func.coalesce(func.sum(monthly_spend.c.realised), 0)).where(monthly_spend.c.key_id == key_id)
    month = select(reservations.c.in_flight + realised.scalar_subquery()).where(reservations.c.key_id == key_id)

    def watch() -> None:
        is_last = False
        while not is_last:
            is_last = is_over.is_set()
            with database.read() as connection:
                seen.append(connection.execute(month).scalar_one())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        eventually(lambda: len(seen) > 0, lambda: "it does not look")
        yield seen
    finally:
        is_over.set()
        thread.join()


async def submit_all(base_urls: list[str], api_key: str) -> list[httpx.Response]:
    """Submit them all at once, to one address after the other."""
    headers = {"Authorization": f"Bearer {api_key}"}
    limits = httpx.Limits(max_connections=AT_ONCE)
    async with httpx.AsyncClient(headers=headers, limits=limits, timeout=PATIENCE_SECONDS, trust_env=False) as client:
        urls = [f"{base_urls[number % len(base_urls)]}/v1/jobs" for number in range(SUBMISSIONS)]

        return await asyncio.gather(
            *(submit(client, url, {**SPEC, "idempotency_key": str(uuid.uuid4())}) for url in urls)
        )


async def submit(client: httpx.AsyncClient, url: str, spec: dict[str, Any]) -> httpx.Response:
    """Submit a job. On a busy machine some wait for a lock for longer than the database lets them: they come again."""
    while (answer := await client.post(url, json=spec)).status_code == 503:
        pass
    return answer


@pytest.mark.parametrize(("engine", "processes"), [(SQLITE, 1), (POSTGRESQL, 1), (POSTGRESQL, 3)], indirect=["engine"])
def test_two_hundred_submissions_at_once_never_pass_a_cap(
    hosted: Hosted, here: ControlPlane, recorded: Database, processes: int
) -> None:
    """Not for an instant is more reserved than the cap, and whoever was refused would not have fitted."""
    base_urls = hosted.serve_all(processes)
    key = mint(here)
    with watching(recorded, key.id) as seen:
        answers = asyncio.run(submit_all(base_urls, key.api_key))
    accepted = [answer for answer in answers if answer.status_code == 202]
    refused: list[dict[str, Any]] = [answer.json() for answer in answers if answer.status_code == 402]
    with recorded.read() as connection:
        costs = connection.execute(select(jobs.c.reserved)).scalars().all()
        query = select(reservations.c.in_flight).where(reservations.c.key_id == key.id)
        in_flight = connection.execute(query).scalar_one()
        reserved = connection.execute(text("SELECT in_flight FROM recorded ORDER BY in_flight")).scalars().all()
    cost = costs[0]

    assert len(accepted) + len(refused) == SUBMISSIONS
    assert len(accepted) == CAP // cost
    assert costs == [cost] * len(accepted)
    assert reserved == [cost * number for number in range(1, len(accepted) + 1)]
    assert reserved[-1] == in_flight <= CAP
    assert set(seen) <= {0, *reserved}
    assert (seen[0], seen[-1]) == (0, in_flight)
    assert all(answer["estimated_cost_usd"] == usd(cost) for answer in refused)
    assert all(answer["month_to_date_usd"] == usd(in_flight) for answer in refused)
    assert verify(recorded).is_sound


@pytest.mark.parametrize(("engine", "processes"), [(POSTGRESQL, 3)], indirect=["engine"])
def test_one_idempotency_key_is_one_job_wherever_it_comes(hosted: Hosted, here: ControlPlane, processes: int) -> None:
    """Even where the job fills the cap: all others that came at once are its replays, none of them refused."""
    base_urls = hosted.serve_all(processes)
    key = mint(here)

    async def submit_all_alike() -> list[httpx.Response]:
        headers = {"Authorization": f"Bearer {key.api_key}", "Idempotency-Key": "once"}
        async with httpx.AsyncClient(headers=headers, timeout=PATIENCE_SECONDS, trust_env=False) as client:
            urls = [f"{base_urls[number % processes]}/v1/jobs" for number in range(30)]
            return await asyncio.gather(*(submit(client, url, FILLING) for url in urls))

    answers = asyncio.run(submit_all_alike())

    assert sorted(answer.status_code for answer in answers) == [200] * 29 + [202]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert verify(here.database).is_sound
