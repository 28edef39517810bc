"""How the page looks and sounds: axe finds no fault, nothing jumps, it fits every width. Screenshots are kept."""

from __future__ import annotations

from importlib import resources
from typing import Any

import pytest
from browser.conftest import SCREENS, Open, Playground
from browser.reading import expect_status, run_job
from playwright.sync_api import Page, expect

WIDTHS = {360: 800, 1280: 900, 2560: 1440}
_AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
_NOTE_SHIFTS = """window.shifts = []; new PerformanceObserver((list) => window.shifts.push(...list.getEntries().map(
  (each) => each.value))).observe({ type: "layout-shift", buffered: true });"""


class Looks:
    """Looks at one page in its states: lets axe search it, and keeps a screenshot of it at each width."""

    def __init__(self, page: Page, scheme: str) -> None:
        self.page = page
        self.faults: list[str] = []
        self._scheme = scheme
        page.evaluate(_AXE)

    def look(self, state: str, *, is_drawn: bool = True) -> None:
        """Note what is serious or critical, and what sticks out."""
        found: dict[str, Any] = self.page.evaluate("axe.run()")
        self.faults += [
            f"{state}: {fault['id']}: {[node['target'] for node in fault['nodes']]}"
            for fault in found["violations"]
            if fault["impact"] in ("serious", "critical")
        ]
        for width, height in WIDTHS.items() if is_drawn else ():
            self.page.set_viewport_size({"width": width, "height": height})
            self.page.evaluate("scrollTo(0, 0)")
            self.page.screenshot(path=SCREENS / f"{self._scheme}-{state}-{width}.png", full_page=True)
            if self.page.evaluate("document.documentElement.scrollWidth") > width:
                self.faults.append(f"{state}: wider than {width}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_state_has_a_serious_fault(open_page: Open, playground: Playground, scheme: str) -> None:
    """Empty, faults in the form, refused, failed over and tampered with, asking: axe is content, and all of it fits."""
    SCREENS.mkdir(parents=True, exist_ok=True)
    page = open_page(playground, color_scheme=scheme, reduced_motion="reduce")
    expect(page.locator("#link")).to_have_text("Live")
    looks = Looks(page, scheme)
    looks.look("empty")
    page.get_by_label("gpu_count").fill("9")
    expect(page.locator("#e-gpu_count.wrong")).to_be_visible()
    looks.look("faults", is_drawn=False)
    page.get_by_label("gpu_count").fill("8")
    page.get_by_label("max_runtime_seconds").fill("36000")
    page.get_by_label("submit as").select_option("agent")
    page.get_by_role("button", name="Run job").click()
    expect(page.get_by_role("alert")).to_contain_text("402")
    page.get_by_text("The answer as it came").click()
    looks.look("refused")
    page.get_by_label("max_runtime_seconds").fill("3600")
    page.get_by_label("gpu_count").fill("1")
    page.get_by_role("button", name="Register the inbox").click()
    run_job(page)
    playground.advance(60)
    playground.outage("hyperbolic")
    expect(page.locator("#card dd").nth(2)).to_have_text("vast")
    playground.advance(7200)
    expect_status(page, "completed")
    page.get_by_label("How").select_option("1")
    page.get_by_role("button", name="Tamper").click()
    expect(page.locator("#report .bad").first).to_be_visible()
    page.locator("#deliveries summary").first.click()
    looks.look("completed")
    page.get_by_role("button", name="Start over…").click()
    looks.look("asking", is_drawn=False)

    assert looks.faults == []


@pytest.mark.parametrize("width", [360, 1280, 2560])
def test_nothing_jumps_while_a_job_runs(open_page: Open, playground: Playground, width: int) -> None:
    """From the first paint to the end, failover and all, what is there stays where it is."""
    page = open_page(playground, script=_NOTE_SHIFTS, viewport={"width": width, "height": WIDTHS[width]})
    expect(page.locator("#link")).to_have_text("Live")
    run_job(page)
    for _ in range(3):
        playground.advance(60)
        expect_status(page, "running")
        playground.outage("hyperbolic")
    playground.advance(7200)
    expect_status(page, "completed")
    shifts: list[float] = page.evaluate("window.shifts")

    assert sum(shifts) < 0.1, shifts


def test_a_phone_is_taken_to_what_happens(open_page: Open, playground: Playground) -> None:
    """To the card of the run, to the refusal, and back to the field that is at fault."""
    page = open_page(playground, viewport={"width": 360, "height": 800}, reduced_motion="reduce")
    expect(page.locator("#link")).to_have_text("Live")
    run_job(page)
    expect(page.locator("#card")).to_be_in_viewport(ratio=0.9)
    page.get_by_label("gpu_count").fill("8")
    page.get_by_label("max_runtime_seconds").fill("36000")
    page.get_by_label("submit as").select_option("agent")
    page.get_by_role("button", name="Run job").click()
    expect(page.get_by_role("alert").get_by_text("402")).to_be_in_viewport()
    page.get_by_label("gpu_count").fill("9")
    page.get_by_role("button", name="Run job").click()
    expect(page.get_by_label("gpu_count")).to_be_in_viewport()


def test_motion_is_reduced_where_it_is_not_wanted(open_page: Open, playground: Playground) -> None:
    """Nothing moves by itself; elsewhere the present state breathes."""
    still = open_page(playground, reduced_motion="reduce")
    run_job(still)
    playground.advance(60)
    expect(still.locator("#track .here")).to_have_text("running")
    moving = open_page(playground, reduced_motion="no-preference")
    expect(moving.locator("#track .here")).to_have_text("running")

    assert still.evaluate("document.getAnimations().length") == 0
    assert moving.evaluate("document.getAnimations().length") > 0
