"""Ids, and the random streams that they name."""

import random
import uuid

from hypothesis import given
from hypothesis import strategies as st

from nodus_core.ids import random_part, uuid7
from nodus_core.seeded_random import stream

times = st.integers(0, (1 << 48) - 1)


@given(times, st.integers())
def test_an_id_is_a_uuid_of_version_7(milliseconds: int, seed: int) -> None:
    """The first 48 bits are the time (RFC 9562, section 5.7)."""
    made = uuid7(milliseconds, random.Random(seed).getrandbits)

    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == milliseconds


@given(times, times)
def test_ids_sort_by_time(one: int, other: int) -> None:
    """Later ids come later, as text too."""
    first, second = (str(uuid7(at, random.Random(1).getrandbits)) for at in sorted((one, other)))

    assert first <= second


@given(times, times, st.integers())
def test_the_random_part_owes_nothing_to_time(one: int, other: int, seed: int) -> None:
    """The same submission at another time has the same fate."""
    first, second = (str(uuid7(at, random.Random(seed).getrandbits)) for at in (one, other))

    assert random_part(first) == random_part(second)


def test_streams_depend_on_seed_and_every_label() -> None:
    """Drawing from one never shifts another."""
    names: list[tuple[int, tuple[str | int, ...]]] = [
        (1, ("a", 2)),
        (1, ("a", 3)),
        (1, ("b", 2)),
        (2, ("a", 2)),
        (1, ("a2",)),
    ]
    drawn = {stream(seed, *labels).random() for seed, labels in names}

    assert len(drawn) == 5
    assert stream(1, "a", 2).random() == stream(1, "a", 2).random()
