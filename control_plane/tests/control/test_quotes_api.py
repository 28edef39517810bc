"""Asking for a price, and what a refused submission is told would fit."""

from __future__ import annotations

import random
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from nodus_control.testing import LocalControlPlane
from nodus_ledger.keys.keys import PrincipalKind

pytestmark = pytest.mark.anyio
Spec = dict[str, Any]


def use_capped_key(client: httpx.AsyncClient, control_plane: LocalControlPlane, cap: int) -> str:
    """Go on with a new key of this monthly cap, in micro-USD; return its id."""
    keys = control_plane.plane.keys
    minted = keys.mint(
        customer_id="other",
        label="",
        principal_kind=PrincipalKind.AGENT,
        now=control_plane.plane.clock.now(),
        monthly_cap=cap,
    )
    client.headers["authorization"] = f"Bearer {minted.api_key}"
    return minted.id


def all_rows(control_plane: LocalControlPlane) -> list[list[tuple[Any, ...]]]:
    """All that a submission writes to."""
    with control_plane.plane.database.read() as connection:
        names = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars().all()
        return [[tuple(row) for row in connection.execute(text(f"SELECT * FROM {name}"))] for name in sorted(names)]


async def test_a_ceiling_that_is_too_low_is_told_what_would_do(client: httpx.AsyncClient, spec: Spec) -> None:
    """The least ceiling, and the most GPUs: each is accepted, and a micro-dollar less, or one GPU more, is not."""
    wanted = {**spec, "gpu_count": 8, "max_cost_usd": 0.1}
    refused = await client.post("/v1/jobs", json=wanted)
    quoted = await client.post("/v1/quotes", json=wanted)
    told = refused.json()
    least, fitting = told["cheapest_minute_usd"], told["largest_fitting"]
    changes = (
        {"max_cost_usd": least},
        {"max_cost_usd": round(least - 1e-6, 6)},
        {"gpu_count": fitting["gpu_count"]},
        {"gpu_count": fitting["gpu_count"] + 1},
    )
    answers = [await client.post("/v1/jobs", json={**wanted, **change}) for change in changes]

    assert (refused.status_code, told["error"]) == (422, "max_cost_too_low")
    assert f"alone costs ${least:.3f} where" in told["message"]
    assert quoted.json()["largest_fitting"] == fitting
    assert (fitting["max_runtime_seconds"], fitting["both"]["gpu_count"]) == (None, fitting["gpu_count"])
    assert [answer.status_code for answer in answers] == [202, 422, 202, 422]


async def test_a_quote_is_what_the_submission_then_meets(client: httpx.AsyncClient, spec: Spec) -> None:
    """The place, the price and what is reserved."""
    wanted = {**spec, "gpu_count": 8, "max_runtime_seconds": 7200}
    quote = (await client.post("/v1/quotes", json=wanted)).json()
    job = (await client.post("/v1/jobs", json=wanted)).json()
    routing = (await client.get(f"/v1/jobs/{job['id']}/routing")).json()

    assert quote["estimated_cost_usd"] == job["estimated_cost_usd"]
    assert (quote["fits"], quote["would_wait"], quote["largest_fitting"], quote["headroom_usd"]) == (
        True,
        False,
        None,
        None,
    )
    assert quote["estimated_cost_usd"] == pytest.approx(quote["usd_per_gpu_hour"] * 8 * 2)
    assert quote["retail_cost_usd"] > quote["estimated_cost_usd"]
    assert quote["simulated"] is True
    best = quote["candidates"][0]
    assert quote["chosen"] == {name: best[name] for name in ("supplier", "kind", "region")}
    if routing["chosen"] is not None:
        assert quote["chosen"]["supplier"] == routing["chosen"]["supplier"]


async def test_a_quote_leaves_nothing_behind(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec
) -> None:
    """No row, reservation or event, whether it fits or not; its idempotency key means nothing."""
    use_capped_key(client, control_plane, 2_000_000)
    before = all_rows(control_plane)
    answers = [
        await client.post("/v1/quotes", json={**spec, **more, "idempotency_key": "a"}, headers={"Idempotency-Key": "b"})
        for more in ({}, {"gpu_count": 8})
    ]

    assert [(answer.status_code, answer.json()["fits"]) for answer in answers] == [(200, True), (200, False)]
    assert all_rows(control_plane) == before


async def test_over_budget_is_an_answer_and_no_error(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec
) -> None:
    """It says what the submission's refusal says."""
    use_capped_key(client, control_plane, 2_000_000)
    wanted = {**spec, "gpu_count": 4, "max_runtime_seconds": 7200}
    quote = (await client.post("/v1/quotes", json=wanted)).json()
    refusal = (await client.post("/v1/jobs", json=wanted)).json()

    assert refusal["error"] == "budget_exceeded"
    assert (quote["fits"], quote["would_wait"], quote["headroom_usd"]) == (False, False, 2.0)
    assert quote["estimated_cost_usd"] == refusal["estimated_cost_usd"]
    assert quote["largest_fitting"] == refusal["largest_fitting"]
    assert quote["chosen"] is not None
    assert {each["rejected"] for each in quote["candidates"]} == {"over_budget"}
    assert quote["largest_fitting"] == {
        "max_runtime_seconds": 1395,
        "gpu_count": None,
        "both": {"gpu_count": 4, "max_runtime_seconds": 1395},
    }


@pytest.mark.parametrize(
    ("more", "headers"),
    [
        ({"gpu_count": 9}, {}),
        ({"gpu": "abacus"}, {}),
        ({"gpus": 1}, {}),
        ({"require_tiers": ["own"]}, {}),
        ({"max_cost_usd": 0.000001}, {}),
        ({"idempotency_key": "\n"}, {}),
        ({}, {"authorization": "Bearer nk_test_wrong"}),
    ],
)
async def test_what_would_be_refused_is_refused_alike(
    client: httpx.AsyncClient, spec: Spec, more: Spec, headers: dict[str, str]
) -> None:
    """With the same status and code."""
    quoted, submitted = [
        await client.post(path, json={**spec, **more}, headers=headers) for path in ("/v1/quotes", "/v1/jobs")
    ]

    assert quoted.status_code >= 400
    assert (quoted.status_code, quoted.json()["error"]) == (submitted.status_code, submitted.json()["error"])


async def test_without_a_supplier_there_is_no_price(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec
) -> None:
    """All that offer it are out: a question about it is answered all the same."""
    for each in control_plane.plane.catalogue.suppliers:
        control_plane.plane.set_outage(each, on=True)
    quote = (await client.post("/v1/quotes", json=spec)).json()

    assert (await client.post("/v1/jobs", json=spec)).json()["error"] == "no_supplier"
    assert [quote[name] for name in ("chosen", "estimated_cost_usd", "retail_cost_usd", "usd_per_gpu_hour")] == [
        None
    ] * 4
    assert (quote["fits"], quote["largest_fitting"]) == (False, None)
    assert {each["rejected"] for each in quote["candidates"]} == {"outage"}


def by_trying(prices: list[int], wanted: Spec, headroom: int, *, step: int) -> Spec:
    """What would be accepted, from the price list alone: every number of GPUs, and every time that is tried."""
    asked, seconds = wanted["gpu_count"], wanted["max_runtime_seconds"]
    times, price = [*range(172_800, 60, -step), 60], min(prices)

    def longest(gpu_count: int) -> int | None:
        return next((each for each in times if -(-price * gpu_count * each // 3600) <= headroom), None)

    def fits(gpu_count: int, runtime: int) -> bool:
        return -(-price * gpu_count * runtime // 3600) <= headroom

    both = ((count, longest(count)) for count in range(asked, 0, -1))
    return {
        "max_runtime_seconds": longest(asked),
        "gpu_count": next((count for count in range(8, 0, -1) if fits(count, seconds)), None),
        "both": next(({"gpu_count": count, "max_runtime_seconds": most} for count, most in both if most), None),
    }


@pytest.mark.parametrize(
    ("count", "step"), [(50, 60), pytest.param(1000, 1, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])]
)
async def test_whoever_takes_what_fits_is_accepted_at_the_second_call(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, count: int, step: int
) -> None:
    """Of random refusals: `both` where neither alone helps. It is what trying everything finds, and no second less."""
    rng = random.Random(11)
    refusals = 0
    helped: dict[str, int] = dict.fromkeys(["max_runtime_seconds", "gpu_count", "both", "nothing"], 0)
    while refusals < count:
        cap = round(10 ** rng.uniform(3, 7.5))
        use_capped_key(client, control_plane, cap)
        wanted: Spec = {
            "image": "x",
            "gpu": rng.choice(control_plane.plane.catalogue.gpus),
            "gpu_count": rng.randint(1, 8),
            "max_runtime_seconds": round(rng.choice([rng.uniform(60, 172_800), 60 * 10 ** rng.uniform(0, 1)])),
            "require_tiers": rng.choice([None, ["tier3"], ["neocloud", "tier3"], ["hyperscaler"]]),
        }
        first = await client.post("/v1/jobs", json=wanted)
        if first.status_code != 402:
            continue
        refusals += 1
        fitting = first.json()["largest_fitting"]
        offers = control_plane.plane.catalogue.offers_for(wanted["gpu"], simulated=True)
        prices = [
            offer.micros_per_gpu_hour
            for offer in offers
            if wanted["require_tiers"] is None or offer.kind.value in wanted["require_tiers"]
        ]
        tried = by_trying(prices, wanted, cap, step=step)
        assert rounded(fitting, step) == tried, (wanted, cap)
        alone = [name for name in ("max_runtime_seconds", "gpu_count") if fitting[name] is not None]
        if alone:
            how = rng.choice(alone)
            smaller = {**wanted, how: fitting[how]}
        elif fitting["both"] is not None:
            how, smaller = "both", {**wanted, **fitting["both"]}
        else:
            helped["nothing"] += 1
            least = {**wanted, "gpu_count": 1, "max_runtime_seconds": 60}
            assert (await client.post("/v1/jobs", json=least)).status_code == 402
            continue
        helped[how] += 1
        second = await client.post("/v1/jobs", json=smaller)

        assert second.status_code == 202, (wanted, fitting, second.text)
    assert all(helped.values()), helped


def rounded(fitting: Spec, step: int) -> Spec:
    """What is found where only every so many seconds are tried."""

    def down(seconds: int) -> int:
        return max(60, 172_800 - -(-(172_800 - seconds) // step) * step)

    longest, both = fitting["max_runtime_seconds"], fitting["both"]
    return {
        **fitting,
        "max_runtime_seconds": None if longest is None else down(longest),
        "both": both and {**both, "max_runtime_seconds": down(both["max_runtime_seconds"])},
    }
