"""A control plane for tests: in this process, on loopback, with a clock that moves only when told to.

    with LocalControlPlane() as control_plane:
        with nodus.Client(api_key=control_plane.api_key, base_url=control_plane.base_url) as client:
            job = client.run(image="ghcr.io/acme/train:v3")
            control_plane.advance(20 * 3600)
            assert job.refresh().succeeded

Suppliers neither refuse nor lose jobs unless a test asks for it (`outage`, `reliable=False`). One process can have any
number of control planes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from starlette.types import ASGIApp
from typing_extensions import Self

from nodus_core.rate_limits import parse_rate_limit
from nodus_ledger.keys.thresholds import DEFAULT_FRACTION

from .access.rate_limiter import RateLimitOptions
from .api.faults import Fault, FaultScript
from .clock import Clock, ManualClock, RunningClock
from .control_plane import ControlPlane
from .playground.app import create_playground_app
from .playground.seeded import seed_keys
from .serving.server import Server
from .suppliers.drivers import SIMULATED
from .webhooks.service import options_for_this_machine


class LocalControlPlane:
    """A control plane in this process, which `with` starts and stops.

    Args:
        driver: `simulated`, `process` to really run commands, or `docker` to run images in the engine of this machine.
        speed: seconds of its clock per real second. None is a clock that stands still until `advance`, or, with another
            driver, real time, which those need.
        seed: determines job ids, and everything that suppliers do by chance.
        reliable: whether simulated suppliers neither refuse nor lose jobs by chance.
        database: the path of a SQLite file, or a database URL, to keep the state in; None for memory.
        serve: whether to listen on a loopback port; if not, only `asgi_app` answers.
        webhook_allow: networks and hosts that webhooks may be sent to, besides public ones and loopback.
        threshold: the fraction of a key's cap, above 0 and up to 1, at which `budget.threshold_reached` is sent.
        rate_limit: how many requests each key may send, as `N/s` or `N/s:BURST`; by default without limit.

    Attributes:
        api_key: the key of a person, without a spend cap.
        agent_api_key: the key of an agent, capped at $25 a month; its requests must be signed.
        agent_signing_secret: the secret that signs the agent's requests.
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
        rate_limit: str = "off",
    ) -> None:
        runs_by_itself = driver != SIMULATED or speed is not None
        clock: Clock = RunningClock(speed=speed or 1.0) if runs_by_itself else ManualClock()
        url = "sqlite://" if database is None else database if isinstance(database, str) else f"sqlite:///{database}"
        webhooks = options_for_this_machine(tuple(webhook_allow), threshold)
        limits = RateLimitOptions(parse_rate_limit(rate_limit))
        self.plane = ControlPlane(
            url, clock=clock, driver=driver, seed=seed, is_reliable=reliable, webhooks=webhooks, limits=limits
        )
        keys = seed_keys(self.plane)
        self.api_key = keys.api_key
        self.agent_api_key = keys.agent_api_key
        self.agent_signing_secret = keys.agent_signing_secret
        self.asgi_app: ASGIApp
        """The application itself, for `httpx.ASGITransport`."""
        self._faults = FaultScript()
        self.asgi_app = create_playground_app(self.plane, self._faults)
        self._server = Server(self.asgi_app, end_streams=self.plane.feed.end_streams) if serve else None

    @property
    def base_url(self) -> str:
        """Its base URL: on loopback, or, without `serve`, a name that only `httpx.ASGITransport` can use."""
        return "http://127.0.0.1" if self._server is None else self._server.base_url

    def start(self) -> Self:
        """Start answering and working. `with` does this."""
        self.plane.start_worker()
        if self._server is not None:
            self._server.start()
        return self

    def close(self) -> None:
        """Stop, and lose everything that was in memory. `with` does this."""
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
        """Begin or end a supplier's outage: its jobs are lost, and fail over.

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
            do: drop the connection before or after the request is handled (`drop_before`, `drop_after`), cut the
                response short (`truncate`), delay it (`delay`), or answer with a status (`status`).
            method: the HTTP method to match; None for any.
            path: the path to match, or, ending in `*`, its beginning; None for any.
            status: the status of `do="status"`.
            headers: extra headers of that response.
            seconds: how long `do="delay"` waits, in real seconds.
            times: how many requests to apply it to.

        Raises:
            ValueError: `do` is not one of these.
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
        """Remove the faults that are waiting."""
        self._faults.clear()

    def reset(self) -> None:
        """Remove everything but the keys, and restart the random streams."""
        self._faults.clear()
        self.plane.reset()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
