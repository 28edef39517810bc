"""Jobs whose starters stand still on the way to the program, past their leases, while another worker goes on."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
from hosted.processes import Hosted, Process, post
from hosted.test_self_hosted import client_of
from killings.programs import BEGIN, END
from killings.sites import Site
from patience import eventually
from sqlalchemy import select

from nodus_control.control_plane import ControlPlane
from nodus_ledger.database.schema import attempts
from nodus_ledger.verification.verify import verify


class Starters:
    """A server, and the workers that a test starts beside it."""

    def __init__(self, here: ControlPlane, hosted: Hosted, site: Site, folder: Path) -> None:
        path = folder / "suppliers.toml"
        path.write_text(site.suppliers, encoding="utf-8")
        self._here = here
        self._hosted = hosted
        self._site = site
        self._options = ("--suppliers", str(path))
        self._base_url = hosted.serve(*self._options)
        self._workers: list[Process] = []

    def work(self, program: str, **environment: str) -> Process:
        """Start a worker."""
        worker = self._hosted.work(*self._options, program=program, environment=environment)
        self._workers.append(worker)
        return worker

    def submit(self) -> str:
        """Submit a job whose program leaves marks; return its id."""
        mark = self._site.witness.mark
        spec = {
            "image": self._site.image,
            "gpu": "h100_80gb",
            "gpu_count": self._site.gpu_counts[0],
            "max_runtime_seconds": 600,
            "command": ["sh", "-c", f"{mark(BEGIN)}; echo ran; sleep 1; {mark(END)}"],
        }
        with self._client() as client:
            found: str = post(client, "/v1/jobs", spec).raise_for_status().json()["id"]
        return found

    def stop(self, worker: Process) -> None:
        """Let a worker stand still, whatever it is doing, but for writing: SQLite has one writer at a time."""
        with self._here.database.write():
            worker.send_signal(signal.SIGSTOP)
            eventually(lambda: state_of(worker.pid) == "T")

    def completed(self, job_id: str) -> None:
        """Wait until a job has completed."""
        with self._client() as client:
            eventually(
                lambda: client.get(f"/v1/jobs/{job_id}").json()["status"] == "completed",
                lambda: f"it does not complete: {self._told()}",
            )

    def go_on(self, *stopped: Process) -> None:
        """Let workers go on that stood still."""
        for worker in stopped:
            worker.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """End all workers when they have come to rest: what they were about to do, they do before they end."""
        statuses = self._hosted.stop()
        assert set(statuses) == {0}, self._hosted.output()

    def kill(self) -> None:
        """End what is left of the workers, those that stand still too."""
        for worker in self._workers:
            worker.kill()

    def check(self, *job_ids: str) -> None:
        """See that the program of each ran once: in its last attempt, the others being shown not to have begun."""
        ran = Counter((mark.job_id, mark.attempt) for mark in self._site.witness.marks() if mark.word == BEGIN)
        shown = {(row.job_id, row.attempt): row.outcome for row in self._attempts()}

        assert set(job_ids) == {job_id for job_id, _ in shown}
        assert {key: ran[key] for key in shown} == {
            key: {"completed": 1, "not_started": 0}[outcome] for key, outcome in shown.items()
        }, self._told()
        assert ran.total() == len(job_ids)
        assert self._site.running() == []
        assert verify(self._here.database).is_sound

    def _attempts(self) -> list[Any]:
        with self._here.database.read() as connection:
            return list(connection.execute(select(attempts).order_by(attempts.c.job_id, attempts.c.attempt)))

    def _told(self) -> str:
        rows = [{**row._mapping, "decision": "..."} for row in self._attempts()]
        return "\n".join([*map(str, rows), self._hosted.output()[-5000:]])

    def _client(self) -> httpx.Client:
        return client_of(self._here, self._base_url, is_test=False)


def state_of(pid: int) -> str:
    """Return the state of a process, `T` for one that was stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
