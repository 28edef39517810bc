"""Every reason for which an offer is rejected has words: on the playground's page, and in the manual."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from nodus_core.routing import REJECTIONS

_STATIC = resources.files("nodus_control.playground").joinpath("static")
_MANUAL = Path(__file__).parents[3] / "docs" / "concepts" / "jobs.md"
_NO_LONGER_MADE = "above_reserved_rate"


def test_the_page_has_words_for_each() -> None:
    """And for the one that only decisions of earlier versions have."""
    table = re.search(r"^const WHY = \{\n(.*?)^\};", _STATIC.joinpath("route.js").read_text("utf-8"), re.M | re.S)
    assert table is not None

    assert tuple(re.findall(r'^\t(\w+): "[^"]+",', table[1], re.M)) == (*REJECTIONS, _NO_LONGER_MADE)


def test_the_manual_explains_each() -> None:
    """In the order in which they are looked for."""
    _, _, section = _MANUAL.read_text("utf-8").partition("| `rejected` | why |")
    table, _, _ = section.partition("\n\n")

    assert tuple(re.findall(r"^\| `(\w+)` \|", table, re.M)) == REJECTIONS
