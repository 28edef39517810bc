"""A busy run of a control plane, full of secrets, and everything that it leaves where somebody may look."""

from __future__ import annotations

import base64
import json
import logging
import sqlite3
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
from keys.callers import Minted, admin, mint
from patience import PATIENCE_SECONDS
from psycopg import sql
from webhooks.receiver import Answer, Receiver

import nodus
from nodus_control.api.app import create_app
from nodus_control.clock import ManualClock
from nodus_control.control_plane import ControlPlane
from nodus_control.serving.server import Server
from nodus_control.webhooks.service import options_for_this_machine
from nodus_ledger.database.redis_store import RedisStore
from nodus_ledger.database.webhook_schema import metadata

ENV_VALUE = "env-value-9c41d7-☃"
OTHER_ENV_VALUE = "env-value-77ab20"
COMMAND_WORD = "--command-word-5e0b13"
BAD_ENV_VALUE = "bad-env-value-1f77aa"
BAD_COMMAND_WORD = "bad-command-word-84c2d0"
WRONG_KEY = "nk_live_wrongKey0000000000000000000000000000000000000"
WRONG_SECRET = "sgn_wrong5ecret000000000000000000000000000000000000"
EVENTS = ["job.placed", "job.completed", "job.failed", "job.cancelled", "budget.threshold_reached", "budget.exceeded"]
ENV = {"TOKEN": ENV_VALUE, "OTHER": OTHER_ENV_VALUE, "NODUS_SIM_DURATION_SECONDS": "5"}


@dataclass
class Traces:
    """What a busy run left: texts by where they were found, and the secrets that must not be among them."""

    secrets: dict[str, str] = field(default_factory=dict)
    signing_secrets: set[str] = field(default_factory=set)
    found: dict[str, bytes] = field(default_factory=dict)
    statuses: set[int] = field(default_factory=set)
    errors: set[str] = field(default_factory=set)

    def leaks(self) -> list[str]:
        """Say which secret is where: as it is, as JSON has it, in hexadecimal, in base64."""
        return [
            f"{secret} in {place}"
            for place, content in self.found.items()
            for secret, value in self.secrets.items()
            if any(form in content for form in _forms(value))
        ]


class BusyRun:
    """One control plane, whose users do all that users do, well and badly."""

    def __init__(self, url: str, redis_url: str | None, log: Callable[[], str]) -> None:
        self.url = url
        self.redis_url = redis_url
        self.traces = Traces()
        self._log = log

    def run(self) -> Traces:
        """Do it, and collect what is left: while it runs, and after it has ended."""
        person, agent, broke = self._mint("human"), self._mint("agent", "--signing-required"), self._mint("agent")
        place = ["--db", self.url, *([] if self.redis_url is None else ["--redis", self.redis_url])]
        rotated = json.loads(admin("rotate", agent.key_id, "--json", *place))["signing_secret"]
        self._add("the rotated signing secret", rotated)
        self.traces.signing_secrets |= {rotated, str(agent.signing_secret)}
        admin("set-cap", broke.key_id, "--monthly-cap-usd", "1", *place)
        redis = None if self.redis_url is None else RedisStore(self.redis_url)
        control_plane = ControlPlane(
            self.url,
            clock=ManualClock(),
            seed=None,
            is_alone=False,
            webhooks=options_for_this_machine(),
            redis=redis,
        )
        server = Server(create_app(control_plane))
        server.start()
        try:
            with Receiver() as receiver:
                self._use(control_plane, server.base_url, receiver, person, agent, broke)
            self._collect("while it ran")
        finally:
            server.stop()
            control_plane.close()
        self._collect("afterwards")
        self.traces.found["the export"] = admin("export", "--db", self.url, "--customer-id", "acme").encode()
        self.traces.found["the list of keys"] = admin("list", "--db", self.url, "--json").encode()
        self.traces.found["the log"] = self._log().encode()
        return self.traces

    def _use(
        self,
        control_plane: ControlPlane,
        base_url: str,
        receiver: Receiver,
        person: Minted,
        agent: Minted,
        broke: Minted,
    ) -> None:
        with nodus.Client(person.api_key, base_url=base_url, max_retries=1) as client:
            hook = client.webhooks.create(receiver.url, EVENTS)
            self._add("the webhook's secret", str(hook.secret))
            self._add("the webhook's second secret", str(client.webhooks.rotate(hook.id).secret))
            receiver.script(Answer(500))
            jobs = [client.run(image="train", command=["python", COMMAND_WORD], env=ENV) for _ in range(3)]
            failing = client.run(image="train", command=[COMMAND_WORD], env={**ENV, "NODUS_SIM_OUTCOME": "failed"})
            jobs[0].cancel()
            with nodus.Client(agent.api_key, base_url=base_url, signing_secret=agent.signing_secret) as signing:
                signing.run(image="train", command=[COMMAND_WORD], env=ENV, idempotency_key="k")
                self._expect(signing, lambda one: one.run(image="other", env=ENV, idempotency_key="k"))
                self._expect(signing, lambda one: one.webhooks.create(receiver.url, ["job.failed"]))
                self._expect(signing, lambda one: one.job(jobs[0].id).cancel())
            with nodus.Client(broke.api_key, base_url=base_url) as poor:
                self._expect(poor, lambda one: one.run(image="train", command=[COMMAND_WORD], env=ENV))
            with nodus.Client(WRONG_KEY, base_url=base_url, signing_secret=WRONG_SECRET) as stranger:
                self._expect(stranger, lambda one: one.run(image="train", env=ENV))
            with nodus.Client(agent.api_key, base_url=base_url, signing_secret=WRONG_SECRET) as forger:
                self._expect(forger, lambda one: one.run(image="train", env=ENV))
            self._expect(client, lambda one: one.run(image="train", gpu="h999", command=[COMMAND_WORD], env=ENV))
            self._expect(client, lambda one: one.get("no-such-job"))
            control_plane.outages.set("runpod", on=True, now=control_plane.clock.now())
            control_plane.advance(3600)
            assert failing.refresh().status == nodus.JobStatus.FAILED
            client.ledger.checkpoint()
        self._speak_http(control_plane, base_url, person, agent)

    def _speak_http(self, control_plane: ControlPlane, base_url: str, person: Minted, agent: Minted) -> None:
        """What an HTTP stack of one's own can do wrong."""
        good = {"image": "train", "gpu": "h100_80gb", "command": [COMMAND_WORD], "env": ENV}
        bodies: list[object] = [
            {**good, "env": {"TOKEN": [BAD_ENV_VALUE]}},
            {**good, "env": {BAD_ENV_VALUE + "=": "x"}},
            {**good, "env": {"TOKEN": BAD_ENV_VALUE + "\0"}},
            {**good, "command": BAD_COMMAND_WORD},
            {**good, "command": [BAD_COMMAND_WORD, 7]},
            {**good, BAD_COMMAND_WORD: 1},
            {**good, "gpu": 7},
            {**good, "max_runtime_seconds": "x"},
            [BAD_ENV_VALUE],
        ]
        headers = {"Authorization": f"Bearer {person.api_key}"}
        with httpx.Client(base_url=base_url, headers=headers, trust_env=False, timeout=PATIENCE_SECONDS) as http:
            answers = [http.post("/v1/jobs", content=json.dumps(body).encode()) for body in bodies]
            answers += [http.post("/v1/jobs", content=b'{"env": {"TOKEN": "' + BAD_ENV_VALUE.encode())]
            answers += [http.post(f"/v1/jobs?token={BAD_ENV_VALUE}", json=good)]
            answers += [http.get(f"/v1/jobs/{BAD_ENV_VALUE}"), http.get(f"/{BAD_ENV_VALUE}")]
            answers += [http.get("/v1/jobs", params={"status": BAD_ENV_VALUE})]
            answers += [http.get("/v1/key", headers={"Authorization": BAD_ENV_VALUE})]
            signed = nodus.sign_request(
                signing_secret=str(agent.signing_secret), method="POST", path="/v1/jobs", body=json.dumps(good).encode()
            )
            mine = {"Authorization": f"Bearer {agent.api_key}", **signed}
            answers += [http.post("/v1/jobs", content=json.dumps(good).encode(), headers=mine) for _ in range(2)]
            # And what can go wrong here: two jobs of one id.
            taken = http.get("/v1/jobs").json()["jobs"][0]["id"]
            control_plane.jobs._submissions.ids = _Same(taken)  # type: ignore[assignment]  # it gives ids, and no more is asked of it
            answers += [http.post("/v1/jobs", json=good)]
        for number, answer in enumerate(answers):
            self.traces.statuses.add(answer.status_code)
            self.traces.found[f"answer {number}"] = answer.content + repr(answer.headers).encode()

    def _expect(self, client: nodus.Client, call: Callable[[nodus.Client], object]) -> None:
        try:
            call(client)
        except nodus.NodusError as exc:
            shown = [repr(exc), str(exc), json.dumps(exc.payload), repr(vars(exc)), *traceback.format_exception(exc)]
            self.traces.errors.add(str(exc.code))
            self.traces.found[f"the error {exc.code} {len(self.traces.found)}"] = "\n".join(shown).encode()
            return
        raise AssertionError("it was accepted")

    def _mint(self, kind: str, *options: str) -> Minted:
        minted = mint(self.url, "--kind", kind, *options, redis_url=self.redis_url)
        self._add(f"the {kind}'s key {minted.key_id}", minted.api_key)
        if minted.signing_secret is not None:
            self._add(f"the {kind}'s signing secret", minted.signing_secret)
        return minted

    def _add(self, what: str, secret: str) -> None:
        self.traces.secrets[what] = secret

    def _collect(self, when: str) -> None:
        if self.url.startswith("sqlite:///"):
            file = Path(self.url.removeprefix("sqlite:///"))
            for path in file.parent.glob("nodus.db*"):
                self.traces.found[f"{path.name} {when}"] = path.read_bytes()
            self.traces.found[f"the dump {when}"] = _sqlite_dump(file)
        else:
            self.traces.found[f"the dump {when}"] = _postgresql_dump(self.url)
        if self.redis_url is not None:
            self.traces.found[f"Redis {when}"] = _everything_in(self.redis_url, self.traces.signing_secrets)


class _Same:
    def __init__(self, job_id: str) -> None:
        self._job_id = job_id

    def new(self, _now: int, _ordinal: Any) -> str:
        return self._job_id


class LogOfEverything(logging.Handler):
    """Keeps what any logger says at debug level, tracebacks included."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        # httpx itself is used by these tests alone, and tells the URLs that they give it.
        if record.name != "httpx":
            self.lines.append(self.format(record))

    def text(self) -> str:
        """All of it."""
        return "\n".join(self.lines)


def _sqlite_dump(file: Path) -> bytes:
    connection = sqlite3.connect(file)
    dump = "\n".join(connection.iterdump()).encode("utf-8", "surrogatepass")
    connection.close()
    return dump


def _postgresql_dump(url: str) -> bytes:
    """Every row of every table, as `pg_dump` would copy it."""
    copied: list[bytes] = []
    with psycopg.connect(url.replace("+psycopg", "")) as connection, connection.cursor() as cursor:
        for name in metadata.tables:
            copied.append(name.encode())
            with cursor.copy(sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(name))) as copy:
                copied += map(bytes, copy)
    return b"\n".join(copied)


def _everything_in(redis_url: str, signing_secrets: set[str]) -> bytes:
    """Names and texts, but for the signing secrets, which are there to be used."""
    import redis

    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        pairs = {str(name): str(client.get(name)) for name in client.scan_iter("*")}
    kept = {name: text for name, text in pairs.items() if text not in signing_secrets}
    return json.dumps(kept).encode()


def _forms(secret: str) -> set[bytes]:
    raw = secret.encode()
    forms = {raw, json.dumps(secret)[1:-1].encode(), raw.hex().encode(), raw.hex().upper().encode()}
    # In base64 a text looks otherwise at each of three offsets; its ends depend on what is beside it.
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + raw)
        forms.add(encoded[4 : len(encoded) - 4])
    return forms
