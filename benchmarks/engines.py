"""Section 9: what is added to an engine's own time, on a Docker Engine that the benchmark starts for itself.

A start is timed from before the first request to the container's own `StartedAt`: by hand with two requests over the
engine's socket, and from the submission of a job with the same limits. Then the requests of many containers that run
are counted, and jobs are timed while another supplier's engine answers nothing.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import nodus

from . import dockerd, sites
from .counting_proxy import CountingProxy
from .dockerd import Dockerd
from .report import Bar, Table
from .rounds import interleaved
from .sites import Site

MODEL, OTHER_MODEL = "h100_80gb", "a100_80gb"
"""What the jobs ask for; the other one is to be had on the engine that hangs."""

RUNNING = 100
AT_ONCE = 8
OPEN_ON_HUNG = 16
SETTLING_SECONDS = 15.0
"""After which nothing that has just begun is asked about more often than the rest."""


def measure(*, quick: bool = False) -> Table:
    """Measure starts, the requests that running jobs cause, and jobs beside an engine that hangs."""
    table = Table("9", "Engines", "wall-clock ms", columns=("ms", "÷ floor"))
    skipped = dockerd.why_not()
    if skipped is not None:
        print(f"not measured: engines, because {skipped}", file=sys.stderr)
        return table
    starts, seconds, rounds = (10, 10.0, 5) if quick else (50, 30.0, 9)
    # What the machine does besides, before any of this adds to it.
    load, cores = os.getloadavg()[0], os.cpu_count()
    with dockerd.running() as engine:
        took = start_times(engine, starts)
        engine.remove_all()
        requests = requests_of_running(engine, seconds)
        engine.remove_all()
        with dockerd.running() as other:
            beside = times_beside_another(engine, other, rounds)
    table.note = (
        "A container is timed to its own start, on a Docker Engine of the benchmark's own: image present, no network. "
        f"The load of the machine was {load:.1f} on {cores} cores before the first measurement."
    )
    table.add("by hand: create and start", took["hand"], 1, of="Docker Engine")
    table.add("job, worker in one process", took["together"], took["together"] / took["hand"], of="nodus")
    table.add("job, worker apart", took["apart"], took["apart"] / took["hand"], of="nodus")
    table.add(f"{AT_ONCE} jobs, other engine answers", beside["answers"], 1, of="nodus")
    table.add(f"{AT_ONCE} jobs, other engine hangs", beside["hangs"], beside["hangs"] / beside["answers"], of="nodus")
    table.bars += [
        Bar("submission to start ÷ create and start by hand", took["together"] / took["hand"], 1.5),
        Bar("ms more with a worker apart", took["apart"] - took["together"], 1000),
        Bar(f"requests a second with {RUNNING} running", requests, 2),
        Bar("jobs beside an engine that hangs ÷ beside one that answers", beside["hangs"] / beside["answers"], 1.2),
    ]
    return table


def start_times(engine: Dockerd, rounds: int) -> dict[str, float]:
    """Return the median ms to the start of a container: by hand, and with a worker in one process and apart."""
    document = by_hand()
    engines = {MODEL: engine.socket}
    with (
        tempfile.TemporaryDirectory() as folder,
        sites.together(Path(folder), engines) as here,
        sites.apart(Path(folder), engines) as there,
    ):
        measures: Mapping[str, Callable[[], float]] = {
            "hand": lambda: engine.start_by_hand(document),
            "together": lambda: submit_and_start(here, engine),
            "apart": lambda: submit_and_start(there, engine),
        }
        interleaved(measures, 1)  # what is loaded, or asked, once
        return {name: took * 1000 for name, took in interleaved(measures, rounds).items()}


def submit_and_start(site: Site, engine: Dockerd) -> float:
    """Submit a job; return how many seconds later its container started."""
    began = time.time()
    job = site.submit("true", gpu=MODEL)
    site.until(job, "completed")
    return engine.started_at(engine.of_job(job.id)) - began


def requests_of_running(engine: Dockerd, seconds: float) -> float:
    """Return how many requests a second reach an engine on which jobs run, and nothing else happens."""
    with tempfile.TemporaryDirectory() as folder:
        proxy = CountingProxy(engine.socket, Path(folder) / "counted")
        with proxy.running(), sites.together(Path(folder), {MODEL: proxy.socket}) as site:
            for job in [site.submit("sleep", "3600", gpu=MODEL) for _ in range(RUNNING)]:
                site.until(job, "running")
            time.sleep(SETTLING_SECONDS)
            proxy.take()
            time.sleep(seconds)
            return len(proxy.take()) / seconds


def times_beside_another(engine: Dockerd, other: Dockerd, rounds: int) -> dict[str, float]:
    """Return the median ms that some jobs take on one engine, while another with running jobs answers, and hangs."""
    engines = {MODEL: engine.socket, OTHER_MODEL: other.socket}
    with tempfile.TemporaryDirectory() as folder, sites.together(Path(folder), engines) as site:
        open_there = [site.submit("sleep", "3600", gpu=OTHER_MODEL) for _ in range(OPEN_ON_HUNG)]

        def beside_answering() -> float:
            wait_until_reached(site, open_there)
            return run_at_once(site)

        def beside_hung() -> float:
            wait_until_reached(site, open_there)
            with other.hung():
                return run_at_once(site)

        took = interleaved({"answers": beside_answering, "hangs": beside_hung}, rounds)
    return {name: seconds * 1000 for name, seconds in took.items()}


def wait_until_reached(site: Site, jobs: Sequence[nodus.Job]) -> None:
    """Wait until jobs run, and their engine has answered about all of them."""
    for job in jobs:
        site.until(job, "running")
        deadline = time.monotonic() + sites.ENDING_SECONDS
        while job.refresh().phase is not None:
            if time.monotonic() > deadline:
                raise RuntimeError(f"its engine is not reached again: {job}")
            time.sleep(sites.LOOK_SECONDS)


def run_at_once(site: Site) -> float:
    """Submit some jobs at once; return how many seconds it took until all of them had ended."""
    began = time.monotonic()
    jobs = [site.submit("true", gpu=MODEL) for _ in range(AT_ONCE)]
    for job in jobs:
        site.until(job, "completed")
    return time.monotonic() - began


def by_hand() -> dict[str, object]:
    """Return what an engine is asked to make by hand: what it is asked to make of a job."""
    from nodus_control.suppliers.docker.container import create_document
    from nodus_control.suppliers.protocol import Placement, Workload
    from nodus_core.suppliers_file import NO_DEVICES, DockerOptions, UnixEndpoint

    return create_document(
        Placement("by-hand", 1, "lab-0", "here", 0.0),
        Workload(dockerd.IMAGE, MODEL, 1, 3600, ("true",), {}),
        DockerOptions(UnixEndpoint("/none"), gpu_devices=NO_DEVICES, network="none"),
        image=dockerd.IMAGE,
        labels={},
        gpus=(),
        network="none",
        log_driver="local",
    )
