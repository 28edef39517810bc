"""A history with everything in it that the ledger records: two customers, every ending, failover, keys, checkpoints."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from nodus_control.testing import LocalControlPlane
from nodus_core.spec import parse_spec
from nodus_ledger.errors import BudgetExceeded
from nodus_ledger.keys.keys import KeyRecord, PrincipalKind

OTHER_CUSTOMER = "acme ☃ & sons"
JOBS = 45
CAP = 120_000
NOBODY_THERE = "http://127.0.0.1:9/nodus"
ENV_VALUE = "env-value-that-nobody-may-see"
COMMAND_WORD = "command-word-that-nobody-may-see"


def submit(control_plane: LocalControlPlane, key: KeyRecord, number: int, **env: str) -> str:
    """Submit a small job; return its id."""
    spec = parse_spec(
        {
            "image": "ghcr.io/acme/train:v3",
            "command": ["python", COMMAND_WORD],
            "gpu": "l40s",
            "env": {"NODUS_SIM_DURATION_SECONDS": "60", "TOKEN": ENV_VALUE, **env},
            "max_runtime_seconds": 60 + number,
        }
    )
    return control_plane.plane.jobs.submit(key, spec, f"job {number}", control_plane.plane.clock.now()).job.id


def key_of(control_plane: LocalControlPlane, api_key: str) -> KeyRecord:
    """Return the key that a caller would present."""
    key = control_plane.plane.keys.find(api_key)
    assert key is not None
    return key


def spend_too_much(control_plane: LocalControlPlane, customer_id: str) -> None:
    """Have a key rotated and its cap lowered; bring it to its cap, and be refused beyond."""
    keys, now = control_plane.plane.keys, control_plane.plane.clock.now()
    minted = keys.mint(
        customer_id=customer_id,
        label="spender",
        principal_kind=PrincipalKind.AGENT,
        now=now,
        monthly_cap=CAP,
        signing_required=True,
        is_test=True,
    )
    keys.rotate(minted.id, now, int(time.time() * 1000))
    submit(control_plane, key_of(control_plane, minted.api_key), JOBS + 2)
    keys.set_cap(minted.id, 1, now)
    with contextlib.suppress(BudgetExceeded):
        submit(control_plane, key_of(control_plane, minted.api_key), JOBS + 3)


def make_history(database: Path | str) -> None:
    """Write the history into a new database."""
    with LocalControlPlane(database=database, serve=False, reliable=False) as control_plane:
        ledger, keys, now = control_plane.plane.trust_ledger, control_plane.plane.keys, control_plane.plane.clock.now
        human = key_of(control_plane, control_plane.api_key)
        minted = keys.mint(
            customer_id=OTHER_CUSTOMER, label="planner", principal_kind=PrincipalKind.SERVICE, now=now(), is_test=True
        )
        other = key_of(control_plane, minted.api_key)
        webhooks = control_plane.plane.webhooks.endpoints
        webhooks.register(human.customer_id, NOBODY_THERE, ["budget.exceeded"], None, now())
        ids = [submit(control_plane, human, number) for number in range(JOBS)]
        ids.append(submit(control_plane, human, JOBS, NODUS_SIM_OUTCOME="failed", NODUS_SIM_ERROR=ENV_VALUE))
        submit(control_plane, other, 0)
        control_plane.plane.jobs.request_cancel(human, ids[0], now())
        spend_too_much(control_plane, human.customer_id)
        ledger.checkpoint(human.customer_id)
        control_plane.advance(90)
        control_plane.outage("runpod")
        control_plane.outage("vast")
        control_plane.advance(3600)
        ledger.checkpoint(human.customer_id)
        ledger.checkpoint(OTHER_CUSTOMER)
        keys.revoke(other.id, now())
        submit(control_plane, human, JOBS + 1)
