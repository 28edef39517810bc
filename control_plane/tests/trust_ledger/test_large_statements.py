"""A month of ten thousand jobs through HTTP: as it is served, saved and verified, and with one byte changed."""

from __future__ import annotations

import io
import logging
import random
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hosted.processes import Hosted
from keys.callers import mint
from trust_ledger.history import key_of, submit

import nodus
from nodus_control.control_plane import ControlPlane
from nodus_control.testing import LocalControlPlane
from nodus_core.times import milliseconds
from nodus_ledger.database.database import Database
from nodus_ledger.trust.log import Entry, append_all

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

JOBS, ROWS_OF_A_JOB = 10_000, 7
LARGE, SMALL = "2025-01", "2025-02"
FEW_JOBS = 3
CHANGES, CHANGES_OF_THE_LARGE = 10_000, 40
AT_ONCE = 500

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Served:
    """A control plane whose process serves one customer's months."""

    base_url: str
    api_key: str
    pid: int

    def save(self, month: str, path: Path) -> float:
        """Save a statement, as a customer does; return the seconds until its last byte was written."""
        with nodus.Client(self.api_key, base_url=self.base_url) as client:
            client.key()  # so that the connection is there
            began = time.perf_counter()
            client.ledger.statement(month).save(path)
            return time.perf_counter() - began

    def most_memory(self) -> int:
        """The most memory that the process has had since `forget_memory`, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def forget_memory(self) -> None:
        """Count the most memory from now on."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", encoding="ascii")

    def public_key(self) -> nodus.LedgerKey:
        """The key of the log."""
        with nodus.Client(self.api_key, base_url=self.base_url) as client:
            return client.ledger.key()


def rows_of_a_job() -> list[Entry]:
    """The rows that a job leaves that is placed, runs and ends."""
    with LocalControlPlane(serve=False) as control_plane:
        key = key_of(control_plane, control_plane.api_key)
        job_id = submit(control_plane, key, 1)
        control_plane.advance(3600)
        page = control_plane.plane.trust_ledger.entries(key.customer_id, job_id=job_id, after=0, limit=100)
    return [
        Entry(key.customer_id, each.kind, 0, dict(each.payload), each.job_id, each.key_id, each.principal_kind)
        for each in page.entries
    ]


def jobs_of(customer_id: str, rows: Sequence[Entry], count: int, month: str) -> Iterator[list[Entry]]:
    """The rows of so many jobs, a job after the other, spread over a month's days; in parts."""
    begins = milliseconds(f"{month}-01T00:00:00.000Z")
    for first in range(0, count, AT_ONCE):
        yield [
            replace(row, customer_id=customer_id, at=begins + number * 200_000 + at, job_id=f"job-{month}-{number}")
            for number in range(first, min(first + AT_ONCE, count))
            for at, row in enumerate(rows)
        ]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A process that serves a month of ten thousand jobs, and one of a few."""
    folder = tmp_path_factory.mktemp("served")
    url = f"sqlite:///{folder / 'nodus.db'}"
    key = mint(url)
    plane = ControlPlane(url, seed=None, is_alone=False)
    found = plane.keys.find(key.api_key)
    plane.close()
    assert found is not None
    rows = rows_of_a_job()
    assert len(rows) == ROWS_OF_A_JOB
    database = Database(url)
    for month, count in ((LARGE, JOBS), (SMALL, FEW_JOBS)):
        for part in jobs_of(found.customer_id, rows, count, month):
            with database.write() as connection:
                append_all(connection, part)
    database.close()
    with Hosted(url, folder) as hosted:
        base_url = hosted.serve()
        yield Served(base_url, key.api_key, hosted.processes[0].pid)


def test_it_is_written_and_verified_in_flat_memory(served: Served, tmp_path: Path) -> None:
    """Whatever its size, the server and whoever verifies hold a page and a line of it."""
    path = tmp_path / "large.ndjson"
    served.save(SMALL, tmp_path / "small.ndjson")
    served.save(LARGE, path)  # what is kept for the next time is there before
    served.forget_memory()
    before = served.most_memory()
    seconds = [served.save(LARGE, path) for _ in range(3)]
    grown = served.most_memory() - before
    size = path.stat().st_size
    with path.open("rb") as file:
        began = time.perf_counter()
        report = nodus.verify_statement(file, public_key=served.public_key())
        verified_in = time.perf_counter() - began
    tracemalloc.start()
    try:
        with path.open("rb") as file:
            nodus.verify_statement(file, public_key=served.public_key())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    _logger.info(
        "%d rows, %d bytes, served in %s s, the server grew by %d bytes; verified in %.2f s with %d bytes",
        report.rows,
        size,
        [round(each, 2) for each in seconds],
        grown,
        verified_in,
        peak,
    )

    assert (report.jobs, report.rows) == (JOBS, JOBS * ROWS_OF_A_JOB)
    assert report.is_final
    assert report.signature_verified
    assert grown < size / 3
    assert peak < size / 20


def unnoticed(text: bytes, key: nodus.LedgerKey, changes: int) -> list[tuple[int, int]]:
    """Change one byte at so many random places, to any other; return the changes that verify."""
    chance = random.Random(3)
    passed = []
    for _ in range(changes):
        place, other = chance.randrange(len(text)), chance.randrange(1, 256)
        spoiled = bytearray(text)
        spoiled[place] = (spoiled[place] + other) % 256
        try:
            nodus.verify_statement(io.BytesIO(spoiled), public_key=key)
        except nodus.LedgerError:
            continue
        passed.append((place, spoiled[place]))
    return passed


@pytest.mark.parametrize(("month", "changes"), [(SMALL, CHANGES), (LARGE, CHANGES_OF_THE_LARGE)])
def test_each_changed_byte_is_found(served: Served, month: str, changes: int, tmp_path: Path) -> None:
    """Of what is served: a month of a few jobs, and the large one."""
    path = tmp_path / "statement.ndjson"
    served.save(month, path)
    key = served.public_key()
    text = path.read_bytes()

    assert nodus.verify_statement(io.BytesIO(text), public_key=key).month == month
    assert unnoticed(text, key, changes) == []
