"""Silence is counted from sign to sign, and begins with the first look."""

from __future__ import annotations

from nodus_control.suppliers.life import SignsOfLife


def test_silence_counts_from_the_last_new_sign() -> None:
    """The same one again is none, and nor is a file that is just being written."""
    life = SignsOfLife()
    life.hear("100", 10.0)
    life.hear("110", 20.0)
    for now in (30.0, 40.0):
        life.hear("110", now)
        life.hear("", now)

    assert life.silent_seconds("110", 45.0) == 25.0


def test_silence_begins_with_the_first_look() -> None:
    """Of an attempt whose script another process heard last, however long ago."""
    life = SignsOfLife()

    assert life.silent_seconds("", 1000.0) == 0.0
    assert life.silent_seconds("", 1100.0) == 100.0
