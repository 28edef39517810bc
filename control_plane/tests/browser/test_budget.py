"""The page and the bill: what the agent's cap lets through, refuses or lets wait; and how amounts are written."""

from __future__ import annotations

import json
from pathlib import Path

from browser.conftest import Playground
from browser.reading import expect_status, run_job
from playwright.sync_api import Page, expect


def test_the_agents_cap_holds_and_says_what_is_left(page: Page, playground: Playground) -> None:
    """The true 402, signed in the browser; one click takes what would fit, whatever is typed by then."""
    page.get_by_label("submit as").select_option("agent")
    page.get_by_label("gpu_count").fill("8")
    page.get_by_label("max_runtime_seconds").fill("36000")
    page.get_by_role("button", name="Run job").click()
    refusal = page.get_by_role("alert")
    expect(refusal).to_contain_text("402 budget_exceeded")
    expect(refusal).to_contain_text("up to $103.20; $25.00 of the key's monthly cap are left. $0.00 is spent")
    offered = page.get_by_role("group", name="What would be accepted").get_by_role("button")
    expect(offered).to_have_text(["Run it for 2 h 25 min", "Run it on 1 GPU"])
    page.get_by_label("image").fill("another")
    offered.first.click()
    expect_status(page, "placed")
    expect(refusal).to_be_hidden()
    expect(page.get_by_role("heading", name="Run")).to_be_focused()
    expect(page.get_by_label("max_runtime_seconds")).to_have_value("8720")
    [job] = playground.call("GET", "/v1/jobs")["jobs"]
    expect(page.get_by_role("meter")).to_have_attribute("aria-valuetext", "$24.997334 of $25.00")

    assert (job["principal_kind"], job["image"], job["gpu_count"]) == ("agent", "ghcr.io/acme/train:v3", 8)
    playground.advance(10_000)
    expect(page.locator(".reserved dd")).to_have_text("$0.00")


OFFERS = "async (asked) => (await import('/counter.js')).counterOffers(...asked)"


def test_what_waits_for_budget_is_seen_and_woken(page: Page, playground: Playground) -> None:
    """A job that lost its place to what its cap allows, with what it needs, what is told of it, and a raised cap."""
    eight_for_two_days = {"gpu_count": 8, "max_runtime_seconds": 172_800}
    longest, both = {"max_runtime_seconds": 60}, {"gpu_count": 4, "max_runtime_seconds": 69}
    none = {"max_runtime_seconds": None, "gpu_count": None, "both": None}
    hostile = {"max_runtime_seconds": "<b>", "gpu_count": -1, "both": {"gpu_count": 1.5, "max_runtime_seconds": 1}}
    offers = [
        page.evaluate(OFFERS, [eight_for_two_days, {"largest_fitting": fitting}])
        for fitting in (none, {**none, "both": both}, {**longest, "gpu_count": 1, "both": both}, hostile, None)
    ]
    two = ["Run it on 4 GPUs for 1 min 9 s", both]
    assert offers == [[], [two], [["Run it for 1 min", longest], ["Run it on 1 GPU", {"gpu_count": 1}], two], [], []]

    cap = page.get_by_label("Cap, $ a month")
    cap.fill("2.19")
    page.get_by_role("button", name="Set cap").click()
    expect(page.locator("#cap")).to_contain_text("$2.19 until")
    page.get_by_role("button", name="Register the inbox").click()
    page.get_by_label("submit as").select_option("agent")
    expect(page.locator("#e-as")).to_have_text("signed, $2.19 a month")
    gpu = page.get_by_role("combobox", name="gpu", exact=True)
    gpu.select_option("a100_40gb")
    run_job(page)
    expect(page.locator(".left dd")).to_have_text("$1.29")
    gpu.select_option("h100_80gb")
    waits = run_job(page)
    page.get_by_role("button", name="Take hyperbolic down").click()
    waiting = page.locator("#waiting li")
    expect(waiting).to_have_count(1)
    expect(waiting.get_by_title(waits)).to_be_visible()
    expect(waiting).to_contain_text("needs at least $2.40 of its key's month, and less is left")
    expect(page.locator("#phase")).to_contain_text("Waiting for budget: It needs at least $2.40")
    expect(page.locator("#told")).to_contain_text("waits: it needs $2.40, with $2.19 of $2.19 used")
    cap.fill("25")
    cap.press("Enter")
    expect(waiting).to_have_count(0)
    expect(page.locator("#card dd").nth(2)).to_have_text("vast")

    expect(page.locator("#timeline")).to_contain_text("Waits for budget")
    expect(page.locator("#phase")).to_be_empty()
    expect(page.locator(".reserved dd")).to_have_text("$3.30")


def test_amounts_are_written_as_everywhere(page: Page) -> None:
    """Exactly, by the vectors that the SDK and the control plane have."""
    vectors = json.loads((Path(__file__).parents[3] / "tests" / "vectors" / "money.json").read_text(encoding="utf-8"))
    shown = page.evaluate(
        "async (amounts) => { const { usd } = await import('/dom.js'); return amounts.map(usd); }",
        [micros / 1e6 for micros, _, _ in vectors["amounts"]],
    )

    assert shown == [text for _, text, _ in vectors["amounts"]]


def test_what_the_agent_cannot_pay_is_said_before_the_click(page: Page) -> None:
    """The estimate is held against what is left of the cap; a person's key has none."""
    page.get_by_label("gpu_count").fill("8")
    page.get_by_label("max_runtime_seconds").fill("36000")
    estimate = page.locator("#estimate")
    expect(estimate).to_have_text("at most $103.20")
    page.get_by_label("submit as").select_option("agent")
    expect(estimate).to_have_text("at most $103.20, and the agent has $25.00 left")
    page.get_by_label("gpu_count").fill("1")
    expect(estimate).to_have_text("at most $12.90")
