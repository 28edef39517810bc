"""What stands in an attempt's folder was written once, and stands for ever."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from patience import PATIENCE_SECONDS

from nodus_control.suppliers.docker.attempts import Attempt
from nodus_control.suppliers.protocol import PlacementState, Report


def test_one_of_many_may_start_it(tmp_path: Path) -> None:
    """Whoever comes first."""
    together = threading.Barrier(8)

    def claim(number: int) -> bool:
        together.wait(PATIENCE_SECONDS)
        return Attempt(tmp_path / "a").claim(str(number))

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(claim, range(8)))

    assert won.count(True) == 1
    assert Attempt(tmp_path / "a").claimed_by() == str(won.index(True))


def test_what_was_claimed_is_not_withdrawn_and_the_other_way_round(tmp_path: Path) -> None:
    """So nobody reports as never started what may be."""
    claimed, withdrawn = Attempt(tmp_path / "claimed"), Attempt(tmp_path / "withdrawn")
    claimed.claim("c")
    first, second = withdrawn.withdraw(), withdrawn.withdraw()

    assert (claimed.withdraw(), claimed.is_withdrawn(), claimed.claimed_by()) == (False, False, "c")
    assert (first, second, withdrawn.claim("c"), withdrawn.claimed_by()) == (True, True, False, None)


def test_the_first_reason_and_the_first_end_stand(tmp_path: Path) -> None:
    """A report is the same whenever it is asked for."""
    attempt = Attempt(tmp_path)
    nothing = attempt.ending(), attempt.ended()
    attempt.request_end("cancelled")
    attempt.request_end("max_runtime")
    first = Report(PlacementState.FAILED, 1.5, 2.25, "code", "message", engine_ref="c")
    stands = attempt.end(first)
    again = attempt.end(Report(PlacementState.COMPLETED, 1.0, 9.0))

    assert nothing == (None, None)
    assert attempt.ending() == "cancelled"
    assert stands == again == attempt.ended() == first
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
