"""A worker may die between any two steps: every event is delivered at least once, under one id."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import Future
from pathlib import Path

import forked
import pytest
from webhooks.receiver import Answer, Receiver

import nodus
from nodus_control.testing import LocalControlPlane
from nodus_control.webhooks.deliverer import LEASE_MS
from nodus_core.spec import parse_spec
from nodus_core.webhook_retries import Outcome

WORKER = """
import os, signal, sys, threading
from nodus_control.control_plane import ControlPlane
from nodus_control.webhooks.sending import Sender
from nodus_control.webhooks.service import options_for_this_machine
from nodus_ledger.trust import log as trust_ledger
from nodus_ledger.webhooks.deliveries import Deliveries
from nodus_ledger.webhooks.endpoints import Webhooks

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def dying_after(function):
    return lambda *args, **more: (claimed := function(*args, **more)) and die() or claimed

def recorded_and_dying(function):
    return lambda *args, **more: (function(*args, **more), die())

place, name, instead = {
    "claimed": (Deliveries, "claim", dying_after(Deliveries.claim)),
    "unsigned": (Webhooks, "destination", die),
    "sent": (Deliveries, "finish", die),
    "half recorded": (trust_ledger, "append", die),
    "recorded": (Deliveries, "finish", recorded_and_dying(Deliveries.finish)),
    "": (ControlPlane, "unused", None),
}[sys.argv[2]]
setattr(place, name, instead)
Sender.__init__.__kwdefaults__["timeout_seconds"] = 3600.0
control_plane = ControlPlane(sys.argv[1], webhooks=options_for_this_machine())
control_plane.webhooks.deliverer.start()
threading.Event().wait()
"""


def prepare(database: Path, receiver: Receiver) -> tuple[str, str]:
    """Leave a database in which one delivery waits; return the endpoint's id and secret."""
    control_plane = LocalControlPlane(database=database, serve=False)
    webhooks = control_plane.plane.webhooks
    registered = webhooks.endpoints.register(
        "playground", receiver.url, ["job.placed"], None, control_plane.plane.clock.now()
    )
    key = control_plane.plane.keys.find(control_plane.api_key)
    assert key is not None
    assert registered.secret is not None
    control_plane.plane.jobs.submit(
        key, parse_spec({"image": "a/b", "gpu": "l40s"}), None, control_plane.plane.clock.now()
    )
    control_plane.close()
    return registered.endpoint.id, registered.secret


def deliveries(database: Path, endpoint_id: str) -> list[str]:
    """Return the statuses of the deliveries, after everything that is due was done."""
    with LocalControlPlane(database=database, serve=False) as control_plane:
        control_plane.advance(0)
        page = control_plane.plane.webhooks.deliveries.page("playground", endpoint_id, limit=10, cursor=None)
    return [each.status for each in page.deliveries]


def test_a_worker_killed_while_the_endpoint_answers(tmp_path: Path, receiver: Receiver) -> None:
    """Whether it got the event nobody knows, so it gets it again, under the same id."""
    database = tmp_path / "nodus.db"
    hook, secret = prepare(database, receiver)
    started: Future[int] = Future()
    receiver.script(Answer(first=lambda: os.kill(started.result(), signal.SIGKILL)))
    worker = forked.start("code", WORKER, f"sqlite:///{database}", "")
    started.set_result(worker.pid)
    receiver.wait_for(1)
    worker.wait()

    assert deliveries(database, hook) == ["delivered"]
    assert len(receiver.requests) == 2
    assert len({request.event(secret).id for request in receiver.requests}) == 1


@pytest.mark.parametrize(
    ("step", "sent_before", "sent_after"),
    [("claimed", 0, 1), ("unsigned", 0, 1), ("sent", 1, 2), ("half recorded", 1, 2), ("recorded", 1, 1)],
)
def test_a_worker_killed_at_a_step(
    tmp_path: Path, receiver: Receiver, step: str, sent_before: int, sent_after: int
) -> None:
    """Whatever it had done by then, the next one does the rest; only what was recorded is not sent again."""
    database = tmp_path / "nodus.db"
    hook, secret = prepare(database, receiver)
    worker = forked.run("code", WORKER, f"sqlite:///{database}", step)
    counted = len(receiver.requests)

    assert worker.returncode == -signal.SIGKILL
    assert counted == sent_before
    assert deliveries(database, hook) == ["delivered"]
    assert len(receiver.requests) == sent_after
    assert len({request.event(secret).id for request in receiver.requests}) == 1


def test_a_lease_keeps_others_away_and_ends(tmp_path: Path, receiver: Receiver) -> None:
    """Of two workers one has a delivery; when it is not heard of for 30 s, it is the other's."""
    database = tmp_path / "nodus.db"
    prepare(database, receiver)
    control_plane = LocalControlPlane(database=database, serve=False)
    both = control_plane.plane.webhooks.deliveries
    now = control_plane.plane.clock.now()

    def claim(owner: str, real_now: int) -> int:
        shares = {endpoint.id: 5 for endpoint in both.due(now=now, real_now=real_now)}
        return len(both.claim(owner, now=now, real_now=real_now, lease_ms=LEASE_MS, shares=shares))

    taken = [claim("a", 0), claim("b", LEASE_MS), claim("b", LEASE_MS + 1), claim("a", LEASE_MS + 2)]
    control_plane.close()

    assert taken == [1, 0, 1, 0]


def test_whoever_lost_its_lease_writes_the_attempt_and_nothing_else(tmp_path: Path, receiver: Receiver) -> None:
    """It was made; but whose delivery it is now decides what becomes of it."""
    database = tmp_path / "nodus.db"
    hook, _ = prepare(database, receiver)
    control_plane = LocalControlPlane(database=database, serve=False)
    both = control_plane.plane.webhooks.deliveries
    now = control_plane.plane.clock.now()
    (late,) = both.claim("a", now=now, real_now=0, lease_ms=1, shares={hook: 5})
    (present,) = both.claim("b", now=now, real_now=9, lease_ms=1, shares={hook: 5})
    both.finish("a", late, Outcome(200, 5), began=now, ended=now, chance=0.5)
    (between,) = both.page("playground", hook, limit=5, cursor=None).deliveries
    both.finish("b", present, Outcome(500, 5), began=now, ended=now, chance=0.5)
    (after,) = both.page("playground", hook, limit=5, cursor=None).deliveries
    control_plane.close()

    assert (between.status, len(between.attempts)) == ("pending", 1)
    assert (after.status, after.next_retry_at) == ("pending", now + 30_000)
    assert [each.status_code for each in after.attempts] == [200, 500]


def test_a_control_plane_that_is_stopped_gives_back_what_is_under_way(tmp_path: Path, receiver: Receiver) -> None:
    """Nobody has to wait until its leases end."""
    release = threading.Event()
    receiver.script(Answer(first=release.wait))
    database = tmp_path / "nodus.db"
    hook, secret = prepare(database, receiver)
    control_plane = LocalControlPlane(database=database, serve=False)
    control_plane.start()
    receiver.wait_for(1)
    control_plane.close()
    release.set()

    assert deliveries(database, hook) == ["delivered"]
    assert len({request.event(secret).id for request in receiver.requests}) == 1


def test_no_secret_is_on_disk_or_in_logs(tmp_path: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    """Not in the database file, its journal, the ledger or a debug log: only sealed."""
    caplog.set_level("DEBUG")
    database = tmp_path / "nodus.db"
    with (
        LocalControlPlane(database=database) as control_plane,
        nodus.Client(api_key=control_plane.api_key, base_url=control_plane.base_url) as client,
    ):
        hook = client.webhooks.create(receiver.url, ["job.placed"])
        rotated = client.webhooks.rotate(hook.id).secret
        receiver.script(Answer(500))
        client.run(image="a/b", gpu="l40s")
        control_plane.advance(0)
        with pytest.raises(nodus.NotFoundError) as refused:
            client.webhooks.rotate(hook.id + "x")
        ledger = "".join(str(entry) for entry in client.ledger.entries())
        while_open = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    after = b"".join(path.read_bytes() for path in tmp_path.iterdir())

    assert hook.secret is not None
    assert hook.id.encode() in while_open + after
    for secret in (hook.secret, rotated):
        for form in (secret.encode(), secret.removeprefix("whsec_").encode(), bytes.fromhex(secret[6:])):
            assert form not in while_open
            assert form not in after
        assert secret not in ledger
        assert secret not in caplog.text
        assert secret not in str(refused.value.payload)
        assert secret not in repr(hook)
