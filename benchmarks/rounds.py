"""How everything here is measured: contenders take turns, several rounds of it, and the median counts.

Absolute times on a shared machine say little; ratios within one run do, and interleaving spreads a neighbour's noise
over all contenders alike.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

_Name = TypeVar("_Name")


def interleaved(measures: Mapping[_Name, Callable[[], float]], rounds: int) -> dict[_Name, float]:
    """Run every measure once a round; return the median of each.

    Args:
        measures: what gives one reading of each contender.
        rounds: from 1 on.
    """
    return {name: statistics.median(values) for name, values in in_turn(measures, rounds).items()}


def in_turn(measures: Mapping[_Name, Callable[[], float]], rounds: int) -> dict[_Name, list[float]]:
    """Run every measure once a round; return its readings, in their order. `rounds` is from 1 on."""
    readings: dict[_Name, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            readings[name].append(measure())
    return readings


def median_ratio(readings: Sequence[float], floors: Sequence[float]) -> float:
    """Return how many times its floor a reading is: the median over the rounds, each compared within itself.

    What changes from one round to the next, such as the machine's clock or its neighbours, counts for both sides.
    """
    return statistics.median(reading / floor for reading, floor in zip(readings, floors, strict=True))


def python(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Run this Python with these arguments; return what it printed."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
