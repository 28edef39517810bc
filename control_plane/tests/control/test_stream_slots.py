"""How many streams may be open, and who gives one up."""

from __future__ import annotations

import pytest

from nodus_control.streams.stream_slots import StreamSlots, TooManyInAll, TooManyOfKey


def test_a_key_has_so_many() -> None:
    """A stream that closes makes room for another."""
    slots: StreamSlots[int] = StreamSlots(of_key=2)
    assert [slots.open("a", "k", number) for number in range(2)] == [None, None]
    with pytest.raises(TooManyOfKey):
        slots.open("a", "k", 2)
    slots.open("a", "other", 3)
    slots.close("a", 0)

    assert slots.open("a", "k", 4) is None
    assert slots.count == 3


def test_where_all_places_are_taken_the_largest_gives_up_its_newest() -> None:
    """Until it has no more than the one who asks would have; nobody else loses any."""
    slots: StreamSlots[str] = StreamSlots(of_key=9, in_all=4)
    for number in range(4):
        slots.open("many", "m", f"m{number}")
    displaced = [slots.open("few", "f", "f0")]
    displaced.append(slots.open("few", "f", "f1"))
    with pytest.raises(TooManyInAll):
        slots.open("few", "f", "f2")

    assert displaced == ["m3", "m2"]
    assert slots.count == 4


def test_one_that_is_closed_twice_is_counted_once() -> None:
    """As when it was displaced, and then ends."""
    slots: StreamSlots[int] = StreamSlots(of_key=1)
    slots.open("a", "k", 1)
    slots.close("a", 1)
    slots.close("a", 1)
    slots.close("nobody", 1)

    assert slots.count == 0
    assert slots.open("a", "k", 2) is None
