"""A control plane of several kinds of suppliers, whose engines do what a test says."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from control.engines import EngineStub, give
from entries import file_of
from sqlalchemy import select

from nodus_control.clock import ManualClock
from nodus_control.control_plane import ControlPlane
from nodus_control.suppliers.drivers import Service
from nodus_control.suppliers.process.options import ProcessOptions
from nodus_control.suppliers.services import services_of
from nodus_core.spec import parse_spec
from nodus_core.suppliers_file import SupplierEntry
from nodus_ledger.database.rows import JobRecord
from nodus_ledger.database.schema import attempts
from nodus_ledger.keys.keys import KeyRecord, PrincipalKind

GPU = "l40s"


class Mixed:
    """A control plane without a thread of its own. Suppliers that run something are served by stubs.

    Attributes:
        stubs: the engines, by supplier.
    """

    def __init__(
        self,
        database_url: str,
        entries: Iterable[SupplierEntry],
        *,
        one_customer: Iterable[str] = (),
        is_alone: bool = True,
        at_once: int = 8,
    ) -> None:
        file = file_of(*entries)
        self.stubs = {entry.name: EngineStub() for entry in file.suppliers if not entry.is_simulated}
        process = ProcessOptions(at_once=at_once)
        services = services_of(file, is_reliable=True, process=process)
        for name, stub in self.stubs.items():
            usual = services[name]
            services[name] = Service(
                usual.driver,
                functools.partial(give, stub),
                usual.terms,
                one_customer=name in one_customer,
                why_not=usual.why_not,
            )
        self.clock = ManualClock()
        self.plane = ControlPlane(
            database_url,
            clock=self.clock,
            suppliers=file,
            services=services,
            process=process,
            is_alone=is_alone,
            accept_suppliers="serve",
        )
        self._keys: dict[tuple[str, bool], KeyRecord] = {}

    def key(self, customer: str = "acme", *, is_test: bool = False) -> KeyRecord:
        """Return the one key of a customer of that kind."""
        if (customer, is_test) not in self._keys:
            minted = self.plane.keys.mint(
                customer_id=customer, label="", principal_kind=PrincipalKind.HUMAN, now=0, is_test=is_test
            )
            found = self.plane.keys.find(minted.api_key)
            assert found is not None
            self._keys[customer, is_test] = found
        return self._keys[customer, is_test]

    def submit(self, customer: str = "acme", *, is_test: bool = False, **changes: Any) -> str:
        """Submit a job with a command; return its id."""
        spec = parse_spec({"image": "x", "gpu": GPU, "command": ["true"], "max_runtime_seconds": 600, **changes})
        key = self.key(customer, is_test=is_test)
        return self.plane.jobs.submit(key, spec, None, self.clock.now()).job.id

    def job(self, job_id: str, customer: str = "acme") -> JobRecord:
        """Read a job."""
        return self.plane.jobs.get(customer, job_id)

    def rejected(self, job_id: str) -> dict[str, str | None]:
        """Read why each supplier was not chosen, as the routing answer says it."""
        decision = self.plane.jobs.decision(job_id)
        assert decision is not None
        return {each["supplier"]: each["rejected"] for each in decision["candidates"]}

    def outcomes(self, job_id: str) -> list[tuple[str, str | None]]:
        """Read where a job has been, and how that ended."""
        query = select(attempts.c.supplier, attempts.c.outcome).where(attempts.c.job_id == job_id)
        with self.plane.database.read() as connection:
            return [tuple(row) for row in connection.execute(query.order_by(attempts.c.attempt))]
