"""`nodus-control meter`, as a process of its own: what it needs, and that it may be killed at any moment."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import forked
import httpx
import pytest
from metering.fake_stripe import DROP_BEFORE, LIVE_KEY, NONE, SECRET, TEST_KEY, FakeStripe
from metering.yard import Yard
from patience import PATIENCE_SECONDS, eventually
from supplier_files import SIMULATIONS

from nodus_ledger.database.database import Database
from nodus_ledger.verification.verify import verify

CUSTOMERS = 5


class RealYard(Yard):
    """The same by real time, which processes go by."""

    @property
    def time(self) -> int:
        """What time it is."""
        return int(time.time() * 1000)

    @time.setter
    def time(self, _at: int) -> None:
        pass


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database that processes share."""
    return f"sqlite:///{tmp_path / 'nodus.db'}"


@pytest.fixture
def real(url: str) -> Iterator[RealYard]:
    """What is to be sent, and where to."""
    database = Database(url)
    yard = RealYard(database)
    with FakeStripe(yard.now) as stripe:
        yard.stripe = stripe
        yield yard
        yard.close()
    database.close()


def environment(stripe: FakeStripe | None, **more: str) -> dict[str, str]:
    """The environment of the command."""
    base = {name: value for name, value in os.environ.items() if not name.startswith("STRIPE_")}
    known = {} if stripe is None else {"STRIPE_API_BASE": stripe.base, "STRIPE_API_KEY": LIVE_KEY}
    return {**base, **known, **more}


def test_it_sends_what_is_due_and_says_what_waits(real: RealYard, url: str) -> None:
    """Once; a customer whom nobody has named is named here."""
    real.name_customer("acme", "cus_1")
    real.add("acme", 5)
    real.add("nobody", 7)
    done = forked.run("control", "meter", "--stripe", "--once", "--db", url, env=environment(real.stripe))

    assert (done.returncode, done.stdout) == (0, "1 done\n")
    assert "1 of them are of customer nobody" in done.stderr
    assert real.stripe.live.billed("cus_1") == 5


@pytest.mark.parametrize(
    ("arguments", "given", "status", "expected"),
    [
        ((), {}, 3, "since when is spend to be metered"),
        (("--since", "tomorrow"), {}, 3, "no date or time"),
        (("--since", "2999-01-01"), {}, 3, "ahead of now"),
        (("--since", "all"), {"STRIPE_API_KEY": TEST_KEY}, 3, "STRIPE_API_KEY must begin with sk_live_"),
        (("--since", "all"), {"STRIPE_TEST_API_KEY": LIVE_KEY}, 3, "STRIPE_TEST_API_KEY must begin with sk_test_"),
        (("--since", "all"), {"STRIPE_API_KEY": "file:/nowhere"}, 3, "STRIPE_API_KEY: /nowhere"),
        (("--since", "all"), {"STRIPE_API_KEY": ""}, 3, "no key of Stripe"),
        (("--since", "all", "--event-name", "x" * 101), {}, 3, "--event-name"),
    ],
)
def test_what_it_cannot_start_with_is_said(
    url: str, arguments: tuple[str, ...], given: dict[str, str], status: int, expected: str
) -> None:
    """In a line, with what to do."""
    env = environment(None, **{"STRIPE_API_KEY": LIVE_KEY, **given})
    done = forked.run("control", "meter", "--stripe", "--once", "--db", url, *arguments, env=env)

    assert done.returncode == status
    assert expected in done.stderr
    assert LIVE_KEY not in done.stderr
    assert TEST_KEY not in done.stderr


def kill_again_and_again(real: RealYard, url: str, *, kills: int) -> None:
    """Kill exporters while they send, at whatever moment, two at a time; then let one end its work."""
    chance = random.Random(7)
    for number in range(CUSTOMERS):
        real.name_customer(f"customer {number}", f"cus_{number}")
    identifiers: list[str] = []
    running: list[forked.Program] = []
    dead: list[forked.Program] = []
    left = [kills]

    def kill_somebody() -> str:
        # Called by the one that sends, or not: whoever it is, it was in the midst of something.
        if left[0] and running and chance.random() < 0.5:
            left[0] -= 1
            victim = running.pop(0)
            victim.kill()
            dead.append(victim)
            return DROP_BEFORE if chance.random() < 0.5 else NONE
        return NONE

    real.stripe.fault = kill_somebody

    def keep_two_running() -> bool:
        while len(running) < 2:
            running.append(forked.start("control", "meter", "--stripe", "--db", url, env=environment(real.stripe)))
        if len(identifiers) < 3 * (kills - left[0]) + 20:
            identifiers.extend(real.add(f"customer {number}", number + 1) for number in range(CUSTOMERS))
        # As if their leases were over.
        with real.database.write() as connection:
            connection.exec_driver_sql("UPDATE customers SET meter_lease_until = 0, meter_next_at = 0")
        return left[0] == 0

    eventually(keep_two_running)
    eventually(lambda: keep_two_running() and set(real.states().values()) == {"delivered"})
    for program in [*running, *dead]:
        program.kill()
        program.wait(PATIENCE_SECONDS)

    assert real.stripe.live.counted() == dict.fromkeys(identifiers, 1)
    assert sum(billing.delivered for billing in verify(real.database).billings.values()) == sum(
        real.stripe.live.billed(f"cus_{number}") for number in range(CUSTOMERS)
    )


def test_it_may_be_killed_at_any_moment(real: RealYard, url: str) -> None:
    """What it was about to send is sent by another, and billed once."""
    kill_again_and_again(real, url, kills=4)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_it_may_be_killed_hundreds_of_times(real: RealYard, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, 400 times."""
    monkeypatch.setattr("patience.PATIENCE_SECONDS", 1800.0)
    kill_again_and_again(real, url, kills=400)


def test_a_worker_meters_and_an_api_hears_what_is_rejected(real: RealYard, url: str, tmp_path: Path) -> None:
    """The webhook goes to `serve`, whose secret it is signed with; the worker fetches the report, and books it."""
    real.name_customer("acme", "cus_1")
    identifier = real.add("acme", 5)
    real.stripe.rejects = lambda event: True
    output = tmp_path / "output"
    env = environment(real.stripe, STRIPE_WEBHOOK_SECRET=SECRET, XDG_STATE_HOME=str(tmp_path))
    with output.open("wb") as file:
        programs = [
            forked.start("control", "worker", "--db", url, *SIMULATIONS, "--meter", "stripe", env=env),
            forked.start("control", "serve", "--db", url, "--port", "0", *SIMULATIONS, stdout=file, env=env),
        ]
    try:
        eventually(lambda: real.states() == {identifier: "delivered"})
        announced = real.stripe.report(real.stripe.live)
        assert announced is not None
        body, signature = announced
        eventually(lambda: "\n" in output.read_text())
        base = output.read_text().split()[1]
        answer = httpx.post(f"{base}/stripe/webhook", content=body, headers={"Stripe-Signature": signature})
        assert answer.status_code == 200
        eventually(lambda: real.states() == {identifier: "rejected"})
    finally:
        for program in programs:
            program.terminate()
        statuses = [program.wait(PATIENCE_SECONDS) for program in programs]
    assert statuses == [0, 0]


def test_a_worker_that_cannot_meter_does_not_start(url: str) -> None:
    """Nobody has said yet since when spend is metered."""
    env = environment(None, STRIPE_API_KEY=LIVE_KEY)
    done = forked.run("control", "worker", "--db", url, *SIMULATIONS, "--meter", "stripe", env=env)

    assert done.returncode == 3
    assert "--since all" in done.stderr
