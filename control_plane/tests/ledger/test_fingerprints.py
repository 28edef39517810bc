"""The key of fingerprints: its own, sealed, and the same as long as the database lives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from nodus_control.testing import LocalControlPlane
from nodus_core.spec import parse_spec
from nodus_ledger.database.database import Database
from nodus_ledger.database.fingerprints import Fingerprints, fingerprints_for
from nodus_ledger.database.schema import jobs, settings
from nodus_ledger.database.sealing import Sealer, UnusableKey, sealer_for
from nodus_ledger.errors import IdempotencyKeyReused

SEALER = Sealer(bytes(range(32)))


@pytest.fixture
def database(empty_database_url: str) -> Iterator[Database]:
    """A database with tables and nothing in them."""
    opened = Database(empty_database_url)
    yield opened
    opened.close()


def test_the_key_stays_when_the_sealing_key_would_derive_another(database: Database) -> None:
    """It is random, sealed, and found again."""
    first = fingerprints_for(database, SEALER)
    again = fingerprints_for(database, SEALER)
    with database.read() as connection:
        kept = connection.execute(select(settings.c.value).where(settings.c.name == "fingerprint key")).scalar_one()

    assert first.of(b"x") == again.of(b"x") != Fingerprints(SEALER.derived_fingerprint_key()).of(b"x")
    assert len(SEALER.open(bytes.fromhex(kept), "fingerprint key")) == 32
    with pytest.raises(UnusableKey):
        fingerprints_for(database, Sealer(bytes(32)))


def test_a_database_from_before_keeps_recognising_what_it_has(tmp_path: Path) -> None:
    """The key that was derived until then becomes its own: a retry across the upgrade is the same submission."""
    path = tmp_path / "nodus.db"
    spec = parse_spec({"image": "a/b", "gpu": "l40s", "command": ["train"]})

    def open_one() -> LocalControlPlane:
        return LocalControlPlane(database=path, serve=False)

    with open_one() as control_plane:
        old = Fingerprints(sealer_for(control_plane.plane.database).derived_fingerprint_key())
        control_plane.plane.jobs._submissions._fingerprints = old
        key = control_plane.plane.keys.find(control_plane.api_key)
        assert key is not None
        before = control_plane.plane.jobs.submit(key, spec, "nightly", control_plane.plane.clock.now()).job
        with control_plane.plane.database.write() as connection:
            connection.execute(delete(settings).where(settings.c.name == "fingerprint key"))
    with open_one() as control_plane:
        again = control_plane.plane.jobs.submit(key, spec, "nightly", control_plane.plane.clock.now())

    assert (again.replayed, again.job.id) == (True, before.id)


def test_a_submission_from_before_there_were_names_is_recognised() -> None:
    """A retry across an upgrade is the same submission; one that now has a name is another."""
    spec = {"image": "a/b", "gpu": "l40s"}
    text = (
        b'{"command":null,"env":{},"gpu":"l40s","gpu_count":1,"image":"a/b","max_runtime_seconds":3600,'
        b'"prefer_region":null,"require_tiers":[]}'
    )
    with LocalControlPlane(serve=False) as control_plane:
        submit, now = control_plane.plane.jobs.submit, control_plane.plane.clock.now()
        key = control_plane.plane.keys.find(control_plane.api_key)
        assert key is not None
        before = submit(key, parse_spec(spec), "nightly", now).job
        with control_plane.plane.database.write() as connection:
            fingerprint = control_plane.plane.jobs._submissions._fingerprints.of(text)
            connection.execute(update(jobs).where(jobs.c.id == before.id).values(fingerprint=fingerprint))
        again = submit(key, parse_spec(spec), "nightly", now)

        assert (again.replayed, again.job.id) == (True, before.id)
        with pytest.raises(IdempotencyKeyReused):
            submit(key, parse_spec({**spec, "name": "nightly"}), "nightly", now)


def test_a_command_has_another_fingerprint_with_every_customer_and_key() -> None:
    """And none can be taken for a spec's."""
    one, other = Fingerprints(b"1" * 32), Fingerprints(b"2" * 32)
    command = ["unlock", "--pin", "48213"]
    spec = parse_spec({"image": "a/b", "gpu": "l40s", "command": command})

    made = {
        one.of_command("acme", command),
        one.of_command("acme2", command),
        one.of_command("acme", [*command, ""]),
        other.of_command("acme", command),
        one.of(spec.canonical()).hex(),
    }
    assert len(made) == 5
    assert one.of_command("acme", command) == one.of_command("acme", tuple(command))
    assert one.of_command("acme", None) is None
    assert "1" * 8 not in repr(one)
