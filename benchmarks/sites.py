"""Control planes with engines of their own: in this process, worker and all, or in two others."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import nodus

from . import operators_program
from .dockerd import IMAGE
from .operators_program import SERVING, WORKING

if TYPE_CHECKING:
    from nodus_control.control_plane import ControlPlane

GPUS = 200
ENDING_SECONDS = 120.0
LOOK_SECONDS = 0.05

_SUPPLIER = """
[[supplier]]
name = "{name}"
kind = "own"
regions = ["here"]
driver = "docker"
gpus = {{ {gpu} = {gpus} }}
usd_per_gpu_hour = {{ {gpu} = 1 }}
[supplier.docker]
endpoint = "unix://{socket}"
gpu_devices = "none"
network = "none"
min_free_disk_gib = 0
"""


class Site:
    """A control plane, and a client of it.

    Args:
        client: connected to it.
    """

    def __init__(self, client: nodus.Client) -> None:
        self.client = client

    def submit(self, *command: str, gpu: str) -> nodus.Job:
        """Submit a job that runs this command in the image, on whichever supplier has the model."""
        return self.client.run(image=IMAGE, gpu=gpu, command=command, max_runtime_seconds=3600)

    def until(self, job: nodus.Job, *statuses: str) -> None:
        """Wait until a job has one of these statuses, asking every now and then."""
        deadline = time.monotonic() + ENDING_SECONDS
        while job.refresh().status not in statuses:
            if time.monotonic() > deadline or job.is_terminal:
                raise RuntimeError(f"a job does not become {' or '.join(statuses)}: {job}")
            time.sleep(LOOK_SECONDS)


@contextlib.contextmanager
def together(folder: Path, engines: Mapping[str, Path]) -> Iterator[Site]:
    """Run a control plane in this process: it answers on loopback, and its worker is a thread.

    Args:
        folder: for its database.
        engines: a supplier for each GPU model, by the sockets of their engines.
    """
    from nodus_control.api.app import create_app
    from nodus_control.control_plane import ControlPlane
    from nodus_control.serving.server import Server
    from nodus_core.suppliers_reading import read_suppliers

    suppliers = read_suppliers(_file(engines), "suppliers.toml")
    # That an engine hangs is said by the figures.
    logging.getLogger("nodus_control").addHandler(logging.NullHandler())
    plane = ControlPlane(
        f"sqlite:///{folder / 'together.db'}", seed=None, suppliers=suppliers, accept_suppliers="bench"
    )
    try:
        api_key = _mint(plane)
        server = Server(create_app(plane), end_streams=plane.feed.end_streams)
        plane.start_worker()
        server.start()
        try:
            with nodus.Client(api_key, base_url=server.base_url) as client:
                yield Site(client)
        finally:
            server.stop()
    finally:
        plane.close()


@contextlib.contextmanager
def apart(folder: Path, engines: Mapping[str, Path]) -> Iterator[Site]:
    """Run a control plane in two processes on one database: one answers, one works."""
    from nodus_control.control_plane import ControlPlane

    file = folder / "suppliers.toml"
    file.write_text(_file(engines), encoding="utf-8")
    url = f"sqlite:///{folder / 'apart.db'}"
    environment = {**os.environ, "NODUS_DATABASE_URL": url, "XDG_STATE_HOME": str(folder)}
    plane = ControlPlane(url, seed=None, is_alone=False)
    try:
        api_key = _mint(plane)
    finally:
        plane.close()
    options = ["--suppliers", str(file)]
    with contextlib.ExitStack() as closing:
        serve = ("serve", "--port", "0", "--rate-limit", "off", *options)
        base_url = closing.enter_context(operators_program.running(*serve, until=SERVING, env=environment))
        closing.enter_context(operators_program.running("worker", *options, until=WORKING, env=environment))
        yield Site(closing.enter_context(nodus.Client(api_key, base_url=base_url)))


def _file(engines: Mapping[str, Path]) -> str:
    return "".join(
        _SUPPLIER.format(name=f"lab-{number}", gpu=gpu, gpus=GPUS, socket=socket)
        for number, (gpu, socket) in enumerate(engines.items())
    )


def _mint(plane: ControlPlane) -> str:
    from nodus_ledger.keys.keys import PrincipalKind

    minted = plane.keys.mint(
        customer_id="bench", label="", principal_kind=PrincipalKind.HUMAN, now=plane.clock.now(), is_test=False
    )
    return minted.api_key
