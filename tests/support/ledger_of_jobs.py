"""A server that keeps its promise of one job a key, behind a network that loses requests and answers."""

from __future__ import annotations

import json
import random

from tests.support.script import job
from tests.support.server import DROP_AFTER_READING, DROP_BEFORE_READING, Action, Peer, answer

LOST_SHARE = 0.3
"""How many of the requests meet a dropped connection: half of them before the server read, half after."""


class JobBook:
    """The jobs that were accepted, by idempotency key.

    Attributes:
        jobs: key to id.
        lost_before: requests dropped before they were read.
        lost_after: answers dropped after the job was accepted.
    """

    def __init__(self, seed: int = 2026) -> None:
        self._rng = random.Random(seed)
        self.jobs: dict[str, str] = {}
        self.lost_before = 0
        self.lost_after = 0

    def next_action(self) -> Action:
        """Say what becomes of one request."""
        chance = self._rng.random()
        if chance < LOST_SHARE / 2:
            self.lost_before += 1
            return DROP_BEFORE_READING
        return Action(self._accept_and_drop if chance < LOST_SHARE else self._accept_and_answer)

    def _accept(self, peer: Peer) -> tuple[str, bool]:
        assert peer.request is not None
        key = json.loads(peer.request.body)["idempotency_key"]
        assert key == peer.request.header("Idempotency-Key")
        known = key in self.jobs
        return self.jobs.setdefault(key, f"job-{len(self.jobs)}"), known

    def _accept_and_drop(self, peer: Peer) -> bool:
        self._accept(peer)
        self.lost_after += 1
        return DROP_AFTER_READING.perform(peer)

    def _accept_and_answer(self, peer: Peer) -> bool:
        job_id, known = self._accept(peer)
        headers = {"Idempotent-Replayed": "true"} if known else {}
        return answer(200 if known else 202, job("queued", id=job_id), **headers).perform(peer)
