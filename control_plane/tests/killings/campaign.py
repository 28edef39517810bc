"""Jobs of three customers on a real engine, while everything is killed with -9 by chance and started again."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from hosted.processes import Hosted, Process
from killings.programs import Program, make_programs
from killings.seeds import SEED_VARIABLE
from killings.sites import Site, Victim
from killings.strays import clear_away
from killings.verdict import AttemptFacts, Everything, JobFacts, differences, fault_of_output, faults, most_at_once
from killings.workers import worker_program
from patience import PATIENCE_SECONDS, eventually
from sqlalchemy import select

from nodus_control.control_plane import ControlPlane
from nodus_ledger.database.schema import api_keys, attempts, jobs, monthly_spend, reservations, slots
from nodus_ledger.keys.keys import PrincipalKind
from nodus_ledger.verification.verify import verify

CUSTOMERS = ("acme", "globex", "initech")
WORKERS = 2
OPEN = ("queued", "placed", "running")
LONGEST_DOWN_SECONDS = 1.5
LONGEST_PEACE_SECONDS = 2.5
SETTLING_SECONDS = 240.0
"""How long no job may come to its end; an attempt that is given up was waited for for two minutes or more."""

FAULTS_EXPLAINED = 5
SHORT_OUTPUTS = 10
LOOK_SECONDS = 0.5
SUBMITTING = 0.6
"""In which part of the time all jobs are submitted."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much there is of a campaign.

    Attributes:
        jobs: how many are submitted.
        seconds: for how long is killed.
        least_rounds: how often is killed at least, however slow the machine.
        longest_seconds: the longest program.
        is_hasty: workers give up sooner what somebody died over.
    """

    jobs: int
    seconds: float
    least_rounds: int
    longest_seconds: float
    is_hasty: bool


SHORT = Extent(40, 20.0, 5, 6.0, is_hasty=True)
LONG = Extent(200, 300.0, 20, 30.0, is_hasty=False)


class Campaign:
    """One campaign, on an empty database.

    Args:
        here: the database, to mint keys and to look.
        hosted: the processes.
        site: where the jobs run.
        folder: for files.
        seed: what all chance is from.
    """

    def __init__(self, here: ControlPlane, hosted: Hosted, site: Site, folder: Path, seed: int) -> None:
        self._here = here
        self._hosted = hosted
        self._site = site
        self._kills_by, self._jobs_by = random.Random(seed), random.Random(seed + 1)
        path = folder / "suppliers.toml"
        path.write_text(site.suppliers, encoding="utf-8")
        self._suppliers = path
        self._options = ("--suppliers", str(path))
        self._worker_program = worker_program()
        self._seed_told = f"{SEED_VARIABLE}={seed}"
        self._keys = [_mint(here, customer) for customer in CUSTOMERS]
        self._programs: dict[str, Program] = {}
        self._base_url = ""
        self._server: Process | None = None
        self._workers: list[Process | None] = [None] * WORKERS
        self._is_over = threading.Event()
        self._kills: Counter[str] = Counter()

    def run(self, extent: Extent, caplog: pytest.LogCaptureFixture) -> str:
        """Submit and kill; wait for the end of every job; see that everything is right. Return what happened."""
        began = time.monotonic()
        self._worker_program = worker_program(is_hasty=extent.is_hasty)
        programs = make_programs(self._jobs_by, extent.jobs, self._site.gpu_counts, extent.longest_seconds)
        mine = [self._victim_of_server(), *(self._victim_of_worker(number) for number in range(WORKERS))]
        for victim in mine:
            victim.start()
        with ThreadPoolExecutor(1) as callers:
            submitted = callers.submit(self._submit_all, programs, extent.seconds * SUBMITTING / extent.jobs)
            try:
                self._kill([*mine, *self._site.victims], extent)
                eventually(submitted.done, lambda: f"submissions do not end\n{self._hosted.output()[-5000:]}")
                submitted.result()
            finally:
                self._is_over.set()
        killed = time.monotonic()
        self._settle()
        self._site.look()
        settled = time.monotonic()
        lost = sum(each.outcome == "lost" for each in self._attempts())
        strays = clear_away(self._here, self._site, self._suppliers, lost, caplog) - 1
        known = self._check(strays)
        seconds = f"{killed - began:.0f} s of killing, {settled - killed:.0f} s until all jobs were over"
        return f"{seconds}; {self._told(known)}; {strays} strays"

    def _check(self, strays: int) -> Everything:
        """See that everything is right; return what is known."""
        site = self._site
        marks, runs = site.witness.marks(), site.runs()
        jobs, attempts_of = self._jobs(), self._attempts()
        known = Everything(
            self._programs, jobs, attempts_of, marks, runs, site.gpus, strays, site.may_lose, site.killed_at
        )
        found = [*faults(known), *self._faults_of_tables(), *self._faults_of_outputs(known)]
        assert not found, "\n".join([self._seed_told, *found, *self._said_of(found)])
        assert verify(self._here.database).is_sound
        return known

    def _told(self, known: Everything) -> str:
        kills = ", ".join(f"{count} of {name}" for name, count in sorted(self._kills.items()))
        ends = Counter(each.outcome or "open" for each in known.attempts)
        outcomes = ", ".join(f"{count} {name}" for name, count in sorted(ends.items()))
        return (
            f"{len(known.jobs)} jobs; {self._kills.total()} kills ({kills}); attempts: {outcomes}; at most "
            f"{most_at_once(known)} of {known.gpus} GPUs at once; durations within "
            f"{max(differences(known).values()):.3f} s of the engine's"
        )

    def _victim_of_server(self) -> Victim:
        def kill() -> None:
            assert self._server is not None
            _kill(self._server)

        def start() -> None:
            self._base_url = self._hosted.serve(*self._options)
            self._server = self._hosted.processes[-1]

        return Victim("serve", kill, start)

    def _victim_of_worker(self, number: int) -> Victim:
        def kill() -> None:
            worker = self._workers[number]
            assert worker is not None
            _kill(worker)

        def start() -> None:
            self._workers[number] = self._hosted.work(*self._options, program=self._worker_program)

        return Victim("worker", kill, start)

    def _kill(self, victims: Sequence[Victim], extent: Extent) -> None:
        """Kill one or several at once, each of them as often, and start them again in another order."""
        turns: list[Victim] = []
        until, rounds = time.monotonic() + extent.seconds, 0
        while time.monotonic() < until or rounds < extent.least_rounds:
            rounds += 1
            self._is_over.wait(self._kills_by.uniform(0.1, LONGEST_PEACE_SECONDS))
            count = self._kills_by.choice([1, 1, 1, 2, 3])
            if not turns:
                turns = self._kills_by.sample(victims, len(victims))
            chosen, turns = turns[:count], turns[count:]
            for victim in chosen:
                self._kills[victim.name] += 1
                victim.kill()
            self._is_over.wait(self._kills_by.uniform(0.0, LONGEST_DOWN_SECONDS))
            for victim in self._kills_by.sample(chosen, len(chosen)):
                victim.start()
            self._site.look()

    def _submit_all(self, programs: Sequence[Program], pause: float) -> None:
        """Have customers submit in turn, and cancel what is to be cancelled; try as often as it takes."""
        cancelled: list[tuple[int, str]] = []
        for program in programs:
            self._is_over.wait(pause)
            customer = program.number % len(CUSTOMERS)
            spec = {
                "image": self._site.image,
                "gpu": "h100_80gb",
                "gpu_count": program.gpu_count,
                "max_runtime_seconds": 600,
                "command": ["sh", "-c", program.script(self._site.witness.mark)],
                "name": f"program-{program.number}",
            }
            job_id = self._post(customer, "/v1/jobs", spec, {"Idempotency-Key": f"program {program.number}"})["id"]
            self._programs[job_id] = program
            if program.is_cancelled:
                cancelled.append((customer, job_id))
            if cancelled and self._jobs_by.random() < 0.5:
                customer, job_id = cancelled.pop(0)
                self._post(customer, f"/v1/jobs/{job_id}/cancel", None, {})
        for customer, job_id in cancelled:
            self._post(customer, f"/v1/jobs/{job_id}/cancel", None, {})

    def _post(self, customer: int, path: str, content: object, headers: dict[str, str]) -> Any:
        """Post until there is an answer that counts."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            assert time.monotonic() < deadline, f"no answer comes\n{self._hosted.output()[-5000:]}"
            with contextlib.suppress(httpx.TransportError), self._client(customer) as client:
                answer = client.post(path, json=content, headers=headers)
                if answer.status_code != 503:
                    return answer.raise_for_status().json()
            self._is_over.wait(0.1)

    def _client(self, customer: int) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self._keys[customer]}"}
        return httpx.Client(base_url=self._base_url, headers=headers, trust_env=False, timeout=PATIENCE_SECONDS)

    def _settle(self) -> None:
        """Wait until every job is over."""
        left, deadline = -1, 0.0
        while open_jobs := [job for job in self._jobs() if job.status in OPEN]:
            if len(open_jobs) != left:
                left, deadline = len(open_jobs), time.monotonic() + SETTLING_SECONDS
            what = [f"{job.id} does not end" for job in open_jobs]
            assert time.monotonic() < deadline, "\n".join([self._seed_told, *what, *self._said_of(what)])
            self._is_over.clear()
            self._is_over.wait(LOOK_SECONDS)
            with contextlib.suppress(httpx.TransportError):
                self._site.look()

    def _jobs(self) -> list[JobFacts]:
        columns = (jobs.c.id, jobs.c.status, jobs.c.attempt, jobs.c.duration_ms, jobs.c.cost, jobs.c.error_code)
        return [JobFacts(*row) for row in self._rows(select(*columns))]

    def _attempts(self) -> list[AttemptFacts]:
        c = attempts.c
        columns = (c.job_id, c.attempt, c.outcome, c.placed_at, c.started_at)
        return [AttemptFacts(*row) for row in self._rows(select(*columns).where(attempts.c.supplier != ""))]

    def _rows(self, query: Any) -> list[Any]:
        with self._here.database.read() as connection:
            return list(connection.execute(query))

    def _faults_of_tables(self) -> list[str]:
        """What was spent is what the jobs cost, nothing is set aside, and every slot is free."""
        found = []
        customers = dict(map(tuple, self._rows(select(api_keys.c.id, api_keys.c.customer_id))))
        cost: Counter[str] = Counter()
        for key_id, each in self._rows(select(jobs.c.key_id, jobs.c.cost)):
            cost[customers[key_id]] += each or 0
        spent: Counter[str] = Counter()
        for key_id, each in self._rows(select(monthly_spend.c.key_id, monthly_spend.c.realised)):
            spent[customers[key_id]] += each
        if spent != cost:
            found.append(f"customers spent {spent}, and their jobs cost {cost}")
        if any(row.in_flight for row in self._rows(select(reservations.c.in_flight))):
            found.append("reservations are left over")
        if taken := self._rows(select(slots.c.index, slots.c.job_id).where(slots.c.job_id.is_not(None))):
            found.append(f"slots are taken: {taken}")
        return found

    def _faults_of_outputs(self, known: Everything) -> list[str]:
        """Look at what is kept of the output of jobs that ended by themselves."""
        found = []
        # All the long ones, and so many of the others that it does not take longer than the campaign.
        ended = [job for job in known.jobs if job.status != "cancelled"]
        long = [job for job in ended if self._programs[job.id].lines > 1]
        for job in long + [job for job in ended if job not in long][:SHORT_OUTPUTS]:
            program = self._programs[job.id]
            with self._client(program.number % len(CUSTOMERS)) as client:
                printed = client.get(f"/v1/jobs/{job.id}/logs").raise_for_status().content
            fault = fault_of_output((job.id, job.attempt), printed, known)
            found += [] if fault is None else [fault]
        return found

    def _said_of(self, found: Sequence[str]) -> list[str]:
        """Return what the tables and the processes say of the jobs that faults name."""
        ids = [job.id for job in self._jobs() if any(job.id in fault for fault in found)][:FAULTS_EXPLAINED]
        rows = [dict(row._mapping) for row in self._rows(select(attempts).where(attempts.c.job_id.in_(ids)))]
        lines = [line for line in self._hosted.output().splitlines() if any(each in line for each in ids)]
        return [*(str({**row, "decision": "..."}) for row in rows), *lines]


def _mint(here: ControlPlane, customer: str) -> str:
    minted = here.keys.mint(
        customer_id=customer, label="", principal_kind=PrincipalKind.HUMAN, now=here.clock.now(), is_test=False
    )
    return minted.api_key


def _kill(process: Process) -> None:
    process.kill()
    process.wait()
