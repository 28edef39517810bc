"""How often tests look while they wait."""

from __future__ import annotations

from itertools import count

from patience import PATIENCE_SECONDS, eventually, pause_after


def test_looks_are_many_at_first_and_few_later() -> None:
    """What takes no time is seen at once; what takes long is looked at five times a second."""
    waited, looks = 0.0, 0
    while waited < PATIENCE_SECONDS:
        assert pause_after(waited) <= max(0.01, waited / 9)
        waited, looks = waited + pause_after(waited), looks + 1

    assert looks < 6 * PATIENCE_SECONDS


def test_what_comes_is_seen() -> None:
    """It is looked at again until it is there."""
    looks = count()

    eventually(lambda: next(looks) == 3)

    assert next(looks) == 4
