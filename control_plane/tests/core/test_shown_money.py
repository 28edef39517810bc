"""Amounts of money as people read them: the same vectors as for the SDK and the playground's page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nodus_core.shown_money import dollars

VECTORS = json.loads((Path(__file__).parents[3] / "tests" / "vectors" / "money.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("micros", "shown", "_plain"), VECTORS["amounts"])
def test_amounts_are_written_exactly(micros: int, shown: str, _plain: str) -> None:
    """With two decimals or more, and thousands apart."""
    assert dollars(micros) == shown
