"""What tests read off the page, and the click that most of them begin with."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

FIELDS = ["id", "status", "supplier", "region", "duration", "cost_usd", "vs retail", "you saved"]


def card(page: Page) -> dict[str, str]:
    """Return the result card."""
    return dict(
        zip(page.locator("#card dt").all_inner_texts(), page.locator("#card dd").all_inner_texts(), strict=True)
    )


def told(page: Page) -> Locator:
    """Return the titles of what happened, in order."""
    return page.locator("#timeline b")


def verdicts(page: Page) -> dict[str, str]:
    """Return what the route says of each supplier."""
    rows = page.locator("#suppliers tr")
    names = rows.locator("th").evaluate_all("cells => cells.map(cell => cell.firstChild.textContent)")
    return dict(zip(names, rows.locator(".why b").all_inner_texts(), strict=True))


def checks(page: Page) -> dict[str, bool]:
    """Return the outcome of each check of the ledger."""
    marked = [text.split(" ", 1) for text in page.locator("#report b").all_inner_texts()]
    return {name: mark == "✓" for mark, name in marked}


def run_job(page: Page) -> str:
    """Press the button; return the id of the job that it made."""
    with page.expect_response(lambda it: it.request.method == "POST" and it.url.endswith("/v1/jobs")) as answered:
        page.get_by_role("button", name="Run job").click()
    job_id: str = answered.value.json()["id"]
    expect(page.locator("#card dd").first).to_have_text(job_id)
    return job_id


def expect_status(page: Page, status: str) -> None:
    """Wait for the card to say it."""
    expect(page.locator("#card dd").nth(1)).to_have_text(status)
