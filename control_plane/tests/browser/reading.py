"""What tests read off the page."""

from __future__ import annotations

from playwright.sync_api import Locator, Page

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
