"""One process that awaits 10,000 jobs at the default interval; run as `python -m benchmarks.crowd <base url> <rounds>`.

It prints, as JSON, how much of a core that takes, the memory and the requests.
"""

from __future__ import annotations

import json
import resource
import sys
import time

import anyio

import nodus
from nodus import ResponseEvent
from nodus._poll import DEFAULT_POLL_SECONDS

from .contenders import KEY
from .server import CROWD, PAGE, job_id, pin

PAGES = CROWD // PAGE


async def main(base: str, rounds: int) -> None:
    """Await the jobs until the given number of rounds of looks is over, the first of them not counted."""
    requests = 0
    marks = {PAGES: anyio.Event(), PAGES * (rounds + 1): anyio.Event()}
    first, last = marks.values()

    def count(_: ResponseEvent) -> None:
        nonlocal requests
        requests += 1
        if requests in marks:
            marks[requests].set()

    async with nodus.AsyncClient(KEY, base_url=base, on_response=count) as client:
        await client.list(limit=PAGE)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        jobs = [client.job(job_id(number)) for number in range(CROWD)]
        requests = 0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.wait_all, jobs)
            await first.wait()
            began, cpu = time.monotonic(), time.process_time()
            await last.wait()
            wall, cpu = time.monotonic() - began, time.process_time() - cpu
            after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            tasks.cancel_scope.cancel()
    unit = 1024 if sys.platform == "darwin" else 1
    measured = {
        "percent": 100 * cpu / rounds / DEFAULT_POLL_SECONDS,
        "kib_a_job": (after - before) / unit / CROWD,
        "seconds_a_round": wall / rounds,
    }
    print(json.dumps(measured))


if __name__ == "__main__":
    pin(server=False)
    anyio.run(main, sys.argv[1], int(sys.argv[2]))
