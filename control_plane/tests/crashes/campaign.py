"""Traffic from the SDK on a control plane that dies in its midst, and what must be true after each restart."""

from __future__ import annotations

import contextlib
import io
import random
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import sqlalchemy
from crashes.victim import Died, Victim
from patience import PATIENCE_SECONDS, eventually
from webhooks.receiver import Answer, Receiver

import nodus
from nodus_ledger.admin.program import main as admin

EVENTS = ("job.placed", "job.completed", "job.failed", "job.cancelled", "budget.exceeded")
SUPPLIERS = ("lambda", "runpod", "aws", "vast")
CALLERS = 3
REACH = 700
"""So many points a few jobs take, from the first submission to the last delivery: deaths are spread over them."""


@dataclass
class Submission:
    """One that a caller means to make, however often it takes."""

    number: int
    arguments: dict[str, Any]
    by_agent: bool = False
    is_too_dear: bool = False
    cancels: bool = False
    job_id: str | None = None
    is_done: bool = False
    """Whether the caller has every answer that it wanted."""

    @property
    def key(self) -> str:
        """Its idempotency key."""
        return f"submission {self.number}"


@dataclass
class Campaign:
    """What callers know, across all crashes."""

    victim: Victim
    receiver: Receiver
    database_url: str
    seed: int
    program: Callable[[int], list[str]] | None = None
    """The command of a submission, by its number, where commands really run."""
    deaths: list[str] = field(default_factory=list)
    submissions: list[Submission] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._secret = ""
        self._public_key: nodus.LedgerKey | None = None
        self._checkpoint: nodus.LedgerCheckpoint | None = None
        self._told: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self._read = 0

    def begin(self) -> None:
        """Start for the first time: the endpoint is registered, the ledger's key is pinned."""
        self.victim.start()
        with self._clients() as (client, _):
            self._secret = client.webhooks.create(self.receiver.url, EVENTS).secret or ""
            self._public_key = client.ledger.key()
            self._checkpoint = client.ledger.checkpoint()

    def crash(self) -> None:
        """Keep the running control plane busy until it dies of a statement; start another one; see what is left.

        One restart in three dies too, of one of the statements with which it takes up the work.
        """
        self.victim.tripwire.set(self._chance.randint(1, REACH))
        self._live_until_death()
        if self._chance.random() < 1 / 3:
            try:
                self.victim.start(dies_at=self._chance.randint(1, REACH // 5))
            except Died:
                self._bury()
            else:
                self._live_until_death()
        self.victim.start()
        self.settle()
        self.check()

    def settle(self) -> None:
        """Make up for what got no answer; wait until every job is over and every event was delivered.

        Raises:
            Died, nodus.APIConnectionError: the control plane died meanwhile.
        """
        with self._clients() as clients:
            self._make_all([each for each in self.submissions if not each.is_done], *clients)
            accepted = {each.job_id for each in self.submissions if each.job_id}
            over: dict[str, nodus.Job] = {}

            def all_are_over() -> bool:
                over.update((job.id, job) for job in clients[0].iter_jobs(page_size=200) if job.is_terminal)
                return accepted <= over.keys()

            eventually(all_are_over, lambda: f"no end came of {accepted - over.keys()}")
        expected = {(job.id, f"job.{job.status.value}") for job in over.values()}
        expected |= {(job_id, "job.placed") for job_id in over}
        eventually(
            lambda: self._has_heard_of(expected) or not self.victim.is_alive,
            lambda: f"no event came of {expected - self._told.keys()}",
        )
        if not self.victim.is_alive:
            raise Died

    def check(self) -> None:
        """See that nothing is lost, doubled or wrong."""
        with self._clients() as (client, _):
            jobs = client.iter_jobs(page_size=200)
            accepted = [each.job_id for each in self.submissions if not each.is_too_dear]
            assert sorted(job.id for job in jobs) == sorted(map(str, accepted)), "lost or doubled jobs"
            latest = client.ledger.checkpoint()
            assert self._checkpoint is not None
            assert self._public_key is not None
            proof = client.ledger.consistency(self._checkpoint.size, latest.size)
            nodus.verify_consistency(self._checkpoint, latest, proof, public_key=self._public_key)
            self._checkpoint = latest
        self._check_sums()
        self._check_events()
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            status = admin(["verify", "--db", self.database_url])
        assert status == 0, output.getvalue()

    def ended(self) -> Iterator[tuple[Submission, nodus.Job]]:
        """Return every accepted submission with its job."""
        with self._clients() as (client, _):
            for submission in self.submissions:
                if submission.job_id is not None:
                    yield submission, client.get(submission.job_id)

    def finish(self) -> None:
        """See once more, as a customer who reads the whole ledger; then stop it in an orderly way."""
        with self._clients() as (client, _):
            entries = client.ledger.entries()
            assert self._public_key is not None
            nodus.verify_ledger(entries, checkpoint=client.ledger.checkpoint(), public_key=self._public_key)
        settled = [entry.job_id for entry in entries if entry.kind == "job.settled"]
        assert len(settled) == len(set(settled)) == sum(each.job_id is not None for each in self.submissions)
        assert self.victim.end(signal.SIGTERM) == 0
        assert "Traceback" not in self.victim.log, self.victim.log

    def _live_until_death(self) -> None:
        try:
            while True:
                self._burst(self._chance.randint(1, 12))
                self.settle()
        except (Died, nodus.APIConnectionError):
            self._bury()

    def _bury(self) -> None:
        eventually(lambda: not self.victim.is_alive, lambda: f"it gave no answer, and lives:\n{self.victim.log}")
        status = self.victim.end()
        place = self.victim.tripwire.tripped_at
        assert status == -signal.SIGKILL, f"it ended by itself, with status {status}:\n{self.victim.log}"
        assert place is not None
        self.deaths.append(place)

    def _burst(self, count: int) -> None:
        """Let several callers at once make new submissions, one of them an agent, and outages begin and end.

        Raises:
            nodus.APIConnectionError: the control plane died.
        """
        made = [self._new_submission() for _ in range(count)]
        has_outage = self.program is None and self._chance.random() < 0.5
        outage = self._chance.choice(SUPPLIERS) if has_outage else None
        with self._clients() as clients:
            if outage is not None:
                self._set_outage(outage, on=True)
            self._make_all(made, *clients)
            if outage is not None:
                self._set_outage(outage, on=False)

    def _make_all(self, submissions: Sequence[Submission], client: nodus.Client, agent: nodus.Client) -> None:
        """Make submissions, several at once.

        Raises:
            nodus.APIConnectionError: the control plane died.
        """
        with ThreadPoolExecutor(CALLERS) as callers:
            making = [callers.submit(self._make, submission, client, agent) for submission in submissions]
            errors = [error for each in making if (error := each.exception()) is not None]
        # What is more than a broken connection comes first.
        for error in sorted(errors, key=lambda error: isinstance(error, nodus.APIConnectionError)):
            raise error

    def _new_submission(self) -> Submission:
        chance, number = self._chance, len(self.submissions)
        arguments: dict[str, Any] = {"gpu": chance.choice(["l40s", "h100_80gb"])}
        if self.program is None:
            outcome = "failed" if chance.random() < 0.2 else "completed"
            steering = {"NODUS_SIM_DURATION_SECONDS": str(chance.randint(0, 50)), "NODUS_SIM_OUTCOME": outcome}
            arguments["env"] = steering
        else:
            arguments["command"] = self.program(number)
        by_agent = number % CALLERS == 0
        is_too_dear = by_agent and chance.random() < 0.3
        size = {"gpu_count": 8, "max_runtime_seconds": 172_800} if is_too_dear else {"max_runtime_seconds": 60}
        made = Submission(
            number,
            {**arguments, **size, "image": "ghcr.io/acme/train:v3"},
            by_agent=by_agent,
            is_too_dear=is_too_dear,
            cancels=chance.random() < 0.2,
        )
        self.submissions.append(made)
        return made

    def _make(self, submission: Submission, client: nodus.Client, agent: nodus.Client) -> None:
        """Submit; where it was to be, cancel.

        Raises:
            nodus.APIConnectionError: nobody knows whether that was done.
        """
        caller = agent if submission.by_agent else client
        try:
            job = caller.run(idempotency_key=submission.key, **submission.arguments)
        except nodus.BudgetExceededError:
            assert submission.is_too_dear
        else:
            assert submission.job_id in (None, job.id)
            submission.job_id = job.id
            if submission.cancels:
                job.cancel()
        submission.is_done = True

    def _set_outage(self, supplier: str, *, on: bool) -> None:
        url = f"{self.victim.base_url}/_dev/suppliers/{supplier}/outage"
        try:
            httpx.post(url, json={"on": on}, trust_env=False, timeout=PATIENCE_SECONDS).raise_for_status()
        except httpx.TransportError as exc:
            raise Died from exc

    def _has_heard_of(self, expected: set[tuple[str, str]]) -> bool:
        new = self.receiver.requests[self._read :]
        self._read += len(new)
        for request in new:
            if len(request.body) < int(request.headers["content-length"]):
                continue  # the sender died in the midst of it
            event = request.event(self._secret)
            self._told[event.job_id or "", event.type].add(event.id)
        return expected <= self._told.keys()

    def _check_events(self) -> None:
        for (job_id, kind), ids in self._told.items():
            assert len(ids) == 1 or not job_id, f"{kind} of job {job_id} has the ids {ids}"
        every = [each for told in self._told.values() for each in told]
        assert len(every) == len(set(every)), "events that share an id"

    def _check_sums(self) -> None:
        """What was spent is what the jobs cost, each once; nothing is set aside for jobs that are over."""
        jobs, spent, keys, metered = self._tables(
            "SELECT key_id, cost, idempotency_key FROM jobs",
            "SELECT key_id, realised FROM monthly_spend",
            "SELECT key_id, in_flight FROM reservations",
            "SELECT identifier FROM meter_events",
        )
        costs: defaultdict[str, int] = defaultdict(int)
        realised: defaultdict[str, int] = defaultdict(int)
        for key_id, cost, _ in jobs:
            costs[key_id] += cost
        for key_id, amount in spent:
            realised[key_id] += amount
        assert realised == costs, "what was spent is not the sum of the settled costs"
        assert {in_flight for _, in_flight in keys} == {0}, "reservations are left over"
        assert len(metered) == len(jobs), "jobs billed twice or never"
        assert len({key for _, _, key in jobs}) == len(jobs), "a submission made two jobs"

    def _tables(self, *queries: str) -> list[list[Any]]:
        engine = sqlalchemy.create_engine(self.database_url)
        with engine.connect() as connection:
            found = [list(connection.execute(sqlalchemy.text(query))) for query in queries]
        engine.dispose()
        return found

    @contextlib.contextmanager
    def _clients(self) -> Iterator[tuple[nodus.Client, nodus.Client]]:
        """A person's client and an agent's, which never try again by themselves."""
        victim = self.victim
        with (
            nodus.Client(victim.api_key, base_url=victim.base_url, max_retries=0, timeout=PATIENCE_SECONDS) as client,
            nodus.Client(
                victim.agent_api_key,
                base_url=victim.base_url,
                max_retries=0,
                timeout=PATIENCE_SECONDS,
                signing_secret=victim.agent_signing_secret,
            ) as agent,
        ):
            yield client, agent


def unreliable() -> list[Answer]:
    """Answers of an endpoint that is down now and then: deliveries are tried again, under the same id."""
    return [Answer(503 if number % 40 == 0 else 204) for number in range(200)]
