"""Section 9: what is added to an engine's own time."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from . import dockerd, sites
from .dockerd import Dockerd


def start_times(folder: Path, engine: Dockerd, rounds: int):
    engines = {"h100_80gb": engine.socket}
    with sites.together(folder, engines) as here, sites.apart(folder, engines) as there:
        took = {"hand": [], "together": [], "apart": []}
        for _ in range(rounds):
            took["hand"].append(engine.start_by_hand(_document()))
            for name, site in {"together": here, "apart": there}.items():
                took[name].append(submitted(site, engine))
    return {n: statistics.median(v) for n, v in took.items()}, took


def submitted(site, engine):
    import time

    began = time.time()
    job = site.submit("true", gpu="h100_80gb")
    site.until(job, "completed")
    container = engine.of_job(job.id)
    return engine.started_at(container) - began


def _document():
    from nodus_control.suppliers.docker.container import create_document
    from nodus_control.suppliers.protocol import Placement, Workload
    from nodus_core.suppliers_file import DockerOptions, UnixEndpoint, NO_DEVICES

    return create_document(
        Placement("by-hand", 1, "lab", "here", 0.0),
        Workload(dockerd.IMAGE, "h100_80gb", 1, 3600, ("true",), {}),
        DockerOptions(UnixEndpoint("/s"), gpu_devices=NO_DEVICES, network="none"),
        image=dockerd.IMAGE,
        labels={},
        gpus=(),
        network="none",
        log_driver="local",
    )


if __name__ == "__main__":
    import sys

    with dockerd.running() as engine, tempfile.TemporaryDirectory() as folder:
        m, t = start_times(Path(folder), engine, int(sys.argv[1]))
        print(m, m["together"] / m["hand"])
        for k, v in t.items():
            print(k, [round(x * 1000) for x in v])
