"""What a cluster's records say of the end of a program, as the verdict takes it."""

from __future__ import annotations

import pytest
from killings.sites import own_exit


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("exited 0 100.5 250", 0),
        ("exited 143 100.5 250", 143),
        ("signalled 0 100.5 250", 0),
        ("signalled 143 100.5 250", None),
        ("lost 0 100.5 250", None),
        ("", None),
    ],
)
def test_only_a_program_that_ended_by_itself_has_an_exit(record: str, expected: int | None) -> None:
    """One that Slurm ended, or that was given up, may be lost; one that exits with SIGTERM's code by itself may not."""
    assert own_exit(record.split()) == expected
