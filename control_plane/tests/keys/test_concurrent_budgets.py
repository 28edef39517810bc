"""Two hundred jobs of many sizes at once under one cap, while others end: each decision is right where it stands."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from hosted.processes import Hosted
from keys.budget_walk import walk
from keys.callers import Minted, mint, serve
from patience import PATIENCE_SECONDS, eventually

from nodus_control.control_plane import ControlPlane
from nodus_ledger.verification.verify import verify

SUBMISSIONS = 200
AT_ONCE = 50
"""More than a process works on at once, and so few that none is cut off: it has 10 s to send its request."""

CAP_MICROS = 25_000_000


class Watch:
    """Looks at the key's month all the time, from outside of whoever answers."""

    def __init__(self, control_plane: ControlPlane, key_id: str) -> None:
        self.highest = 0
        self.looks = 0
        self._plane = control_plane
        self._key_id = key_id
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watch:
        self._thread.start()
        eventually(lambda: self.looks > 0, lambda: "it does not look")
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        is_over = False
        while not is_over:
            # Once more when it is over, however late this thread is.
            is_over = self._over.wait(0.003)
            figures = self._plane.keys.budget(self._key_id, self._plane.clock.now())
            self.highest = max(self.highest, figures.month_to_date)
            self.looks += 1


async def submit_all(base_urls: list[str], key: Minted) -> list[int]:
    """Submit jobs of many sizes at once; every fourth that is accepted is cancelled at once, which makes room again."""
    limits = httpx.Limits(max_connections=AT_ONCE)
    headers = {"Authorization": f"Bearer {key.api_key}"}
    async with httpx.AsyncClient(headers=headers, limits=limits, timeout=PATIENCE_SECONDS, trust_env=False) as client:

        async def submit(number: int) -> int:
            base_url = base_urls[number % len(base_urls)]
            spec = {
                "image": "train",
                "gpu": ("h100_80gb", "l40s", "a10g")[number % 3],
                "gpu_count": 1 + number % 4,
                "max_runtime_seconds": 300 + 37 * (number % 50),
                "idempotency_key": f"job {number}",
            }
            answer = await post(f"{base_url}/v1/jobs", spec)
            if answer.status_code == 202 and number % 4 == 0:
                await post(f"{base_url}/v1/jobs/{answer.json()['id']}/cancel")
            return answer.status_code

        async def post(url: str, content: object = None) -> httpx.Response:
            # On a busy machine some wait for a lock for longer than the database lets them: they come again.
            while (answer := await client.post(url, json=content)).status_code == 503:
                pass
            return answer

        return await asyncio.gather(*(submit(number) for number in range(SUBMISSIONS)))


@pytest.mark.parametrize(("engine", "count"), [("sqlite", 1), ("postgresql", 3)], indirect=["engine"])
def test_a_cap_holds_against_all_at_once(kept_database_url: str, count: int, tmp_path: Path) -> None:
    """At every instant, and for every decision in the order in which they were made."""
    key = mint(kept_database_url, "--monthly-cap-usd", "25")
    control_plane = ControlPlane(kept_database_url, seed=None, is_alone=False)
    with ExitStack() as stack:
        stack.callback(control_plane.close)
        if count == 1:
            base_urls = [stack.enter_context(serve(kept_database_url)).base_url]
        else:
            base_urls = stack.enter_context(Hosted(kept_database_url, tmp_path)).serve_all(count)
        with Watch(control_plane, key.key_id) as watch:
            statuses = Counter(asyncio.run(submit_all(base_urls, key)))
        counted, _ = walk(control_plane)
        report = verify(control_plane.database)

    assert set(statuses) == {202, 402}
    assert counted["job.submitted"] == statuses[202]
    assert 0 < counted["budget.exceeded"] <= statuses[402]  # once a minute for the same amount: see `walk`
    assert sum(statuses.values()) == SUBMISSIONS
    assert 0 < watch.highest <= CAP_MICROS
    assert watch.looks > 1
    assert report.faults == []
