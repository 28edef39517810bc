"""A control plane for tests: in this process, on loopback, with a clock that moves when it is told to.

    with LocalControlPlane() as plane:
        with nodus.Client(api_key=plane.api_key, base_url=plane.base_url) as client:
            job = client.run(image="ghcr.io/acme/train:v3")
            plane.advance(20 * 3600)
            assert job.refresh().succeeded

Suppliers neither refuse nor lose a job unless a test asks for it (`outage`, `reliable=False`). Any number of them live
in one process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from starlette.types import ASGIApp
from typing_extensions import Self

from nodus_ledger.thresholds import DEFAULT_FRACTION

from .app import create_app
from .clock import Clock, ManualClock, RunningClock
from .faults import Fault, FaultScript
from .plane import Plane
from .playground.seeded import seed_keys
from .server import Server
from .webhooks.service import options_for_this_machine


class LocalControlPlane:
    """A control plane in this process, started by `with` and gone after it.

    Args:
        driver: `simulated`, or `process` to really run commands.
        speed: how fast the clock runs; None for one that stands until `advance`. Commands run at 1.
        seed: what job ids and all simulated chance come from.
        reliable: simulated suppliers neither refuse nor lose jobs by themselves.
        database: a SQLite file to keep the state in, or a database's URL; None for memory.
        serve: listens on a loopback port; without, only `asgi_app` answers.
        webhook_allow: networks and hosts that webhooks may lead to, besides public ones and loopback.
        threshold: the fraction of a key's cap at which `budget.threshold_reached` fires.

    Attributes:
        api_key: a person's key, without a cap.
        agent_api_key: an agent's, capped at $25 a month, which must sign its requests.
        agent_signing_secret: what that one signs with.
    """

    def __init__(
        self,
        *,
        driver: str = "simulated",
        speed: float | None = None,
        seed: int = 0,
        reliable: bool = True,
        database: Path | str | None = None,
        serve: bool = True,
        webhook_allow: Sequence[str] = (),
        threshold: float = DEFAULT_FRACTION,
    ) -> None:
        runs_by_itself = driver == "process" or speed is not None
        clock: Clock = RunningClock(speed=speed or 1.0) if runs_by_itself else ManualClock()
        url = "sqlite://" if database is None else database if isinstance(database, str) else f"sqlite:///{database}"
        webhooks = options_for_this_machine(tuple(webhook_allow), threshold)
        self.plane = Plane(url, clock=clock, driver=driver, seed=seed, is_reliable=reliable, webhooks=webhooks)
        keys = seed_keys(self.plane)
        self.api_key = keys.api_key
        self.agent_api_key = keys.agent_api_key
        self.agent_signing_secret = keys.agent_signing_secret
        self.asgi_app: ASGIApp
        """The application itself, for `httpx.ASGITransport`."""
        self._faults = FaultScript()
        self.asgi_app = create_app(self.plane, faults=self._faults)
        self._server = Server(self.asgi_app, end_streams=self.plane.feed.end_streams) if serve else None

    @property
    def base_url(self) -> str:
        """Where it answers: on loopback, or, without `serve`, a name for `httpx.ASGITransport` alone."""
        return "http://127.0.0.1" if self._server is None else self._server.base_url

    def start(self) -> Self:
        """Begin to answer and to work. `with` does it."""
        self.plane.start_worker()
        if self._server is not None:
            self._server.start()
        return self

    def close(self) -> None:
        """Stop, and forget everything that was in memory. `with` does it."""
        if self._server is not None:
            self._server.stop()
        self.plane.close()

    def advance(self, seconds: float) -> None:
        """Move the clock, and do everything that falls due by then, in order.

        Raises:
            ValueError: `seconds` is negative or not finite.
        """
        self.plane.advance(seconds)

    def outage(self, supplier: str, *, on: bool = True) -> None:
        """Begin or end a supplier's outage: what it had is lost and fails over.

        Raises:
            KeyError: there is no supplier of that name.
        """
        self.plane.set_outage(supplier, on=on)

    def faults(
        self,
        do: str,
        *,
        method: str | None = None,
        path: str | None = None,
        status: int = 500,
        headers: Mapping[str, str] | None = None,
        seconds: float = 0.0,
        times: int = 1,
    ) -> None:
        """Script a fault for the next `times` requests that match.

        Args:
            do: `drop_before` or `drop_after` the request is handled, `truncate` the answer, `delay` it, or answer
                with a `status`.
            method: only this method; None for any.
            path: only this path, or, ending in `*`, what begins so; None for any.
            status: the status of `do="status"`.
            headers: the headers of that answer.
            seconds: the real time of `do="delay"`.
            times: how many requests.

        Raises:
            ValueError: `do` is none of these.
        """
        self._faults.add(
            Fault(
                do=do,
                method=method,
                path=path,
                status=status,
                headers=dict(headers or {}),
                seconds=seconds,
                times=times,
            )
        )

    def clear_faults(self) -> None:
        """Drop the faults that wait."""
        self._faults.clear()

    def reset(self) -> None:
        """Empty everything but the keys; random streams begin again."""
        self._faults.clear()
        self.plane.reset()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
