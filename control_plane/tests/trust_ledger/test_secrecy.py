"""What the ledger never holds: values of env, keys, secrets, commands."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from trust_ledger.history import COMMAND_WORD, ENV_VALUE, OTHER_CUSTOMER
from trust_ledger.tampering import Forger

from nodus_control.playground.seeded import AGENT_API_KEY, AGENT_SIGNING_SECRET, API_KEY
from nodus_ledger.admin.program import main

SECRETS = [ENV_VALUE, COMMAND_WORD, API_KEY, AGENT_API_KEY, AGENT_SIGNING_SECRET]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("table", ["ledger", "ledger_states", "ledger_nodes", "ledger_checkpoints", "meter_events"])
def test_no_secret_is_in_any_row(forger: Forger, table: str, secret: str) -> None:
    """Not even where a job printed it as its error."""
    everything = repr(forger.read(f"SELECT * FROM {table}"))

    assert everything != "[]"
    assert secret not in everything


@pytest.mark.parametrize("customer_id", ["playground", OTHER_CUSTOMER])
def test_no_secret_is_in_an_export(recorded: Path, customer_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An export may be given away."""
    status = main(["export", "--db", f"sqlite:///{recorded}", "--customer-id", customer_id])
    printed = capsys.readouterr().out

    assert status == 0
    assert '"job.settled"' in printed
    assert [secret for secret in SECRETS if secret in printed] == []


def test_of_a_command_there_is_a_fingerprint(forger: Forger) -> None:
    """It cannot be found by trying commands: for that, one needs the sealed key."""
    leaves = [json.loads(leaf) for (leaf,) in forger.read("SELECT leaf FROM ledger WHERE kind = 'job.submitted'")]
    recorded = [leaf["payload"]["command_hmac"] for leaf in leaves if leaf["payload"]["command_hmac"] is not None]
    canonical = json.dumps(["python", COMMAND_WORD], separators=(",", ":")).encode()

    assert {len(each) for each in recorded} == {64}
    assert hashlib.sha256(canonical).hexdigest() not in recorded
    assert all("command_sha256" not in leaf["payload"] for leaf in leaves)
