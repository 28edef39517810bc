"""Secrets of a job end with it, and the log of SQLite does not stay as large as it ever was."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy
from servers.engines import SEALING_KEY, open_bare
from sqlalchemy import select, text

import nodus
from nodus_control.testing import LocalControlPlane
from nodus_ledger import migrations
from nodus_ledger.database.database import LOG_BYTES, Database
from nodus_ledger.database.schema import jobs, settings
from nodus_ledger.database.sealing import KEY_VARIABLE

ENV = {"TOKEN": "hunter2", "NODUS_SIM_DURATION_SECONDS": "60"}


def client_of(control_plane: LocalControlPlane) -> nodus.Client:
    """Make a client with the person's key."""
    return nodus.Client(api_key=control_plane.api_key, base_url=control_plane.base_url)


def sealed_of(control_plane: LocalControlPlane, job_id: str) -> tuple[bytes, bytes | None]:
    """Return what a job's row holds of its secrets."""
    with control_plane.plane.database.read() as connection:
        row = connection.execute(select(jobs.c.sealed, jobs.c.steering).where(jobs.c.id == job_id)).one()
        return row.sealed, row.steering


@pytest.mark.both_engines
def test_env_and_command_are_erased_when_a_job_ends(kept_database_url: str) -> None:
    """However it ends: by itself, cancelled in the queue, cancelled while it runs, never placed."""
    with LocalControlPlane(database=kept_database_url) as control_plane, client_of(control_plane) as client:
        done, queued, running = (
            client.run(image="x", gpu="h100_80gb", env=ENV, command=["--pin", "12345"]) for _ in range(3)
        )
        held = sealed_of(control_plane, done.id)
        queued.cancel()
        control_plane.advance(45)
        running.cancel()
        control_plane.advance(3600)
        ends = {client.get(job.id).status for job in (done, queued, running)}
        left = [sealed_of(control_plane, job.id) for job in (done, queued, running)]
        opened = control_plane.plane.jobs.open_secrets(control_plane.plane.jobs.get("playground", done.id))

    assert held[0]
    assert ends == {nodus.JobStatus.COMPLETED, nodus.JobStatus.CANCELLED}
    assert [sealed for sealed, _ in left] == [b""] * 3
    assert (opened.command, opened.env) == (None, {"NODUS_SIM_DURATION_SECONDS": "60"})


def test_the_output_of_a_simulated_job_is_the_same_after_its_end(tmp_path: Path) -> None:
    """It follows from what steered the job, which is kept; a reader that goes on by byte offset meets no change."""
    database = f"sqlite:///{tmp_path / 'nodus.db'}"
    with LocalControlPlane(database=database) as control_plane, client_of(control_plane) as client:
        job = client.run(image="x", gpu="h100_80gb", max_runtime_seconds=600, env=ENV)
        control_plane.advance(60)
        before = client.logs(job.id)
        job.cancel()
        control_plane.advance(3600)
        after = client.logs(job.id)

    assert len(before) > 50
    assert after.startswith(before)


@pytest.mark.both_engines
def test_jobs_that_ended_before_are_erased_by_the_migration(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that live keep what they need."""
    monkeypatch.setenv(KEY_VARIABLE, SEALING_KEY)
    engine = open_bare(empty_database_url)
    with engine.connect() as connection:
        for revision in migrations.REVISIONS[: migrations.REVISIONS.index("0004") + 1]:
            migrations.bring_up(connection, sqlalchemy.MetaData(), to=revision)
        older = sqlalchemy.MetaData()
        older.reflect(connection, only=["jobs"])
        columns = older.tables["jobs"].columns
        filled = {column.name: 1 for column in columns if not column.nullable and column.name != "seq"}
        row = {**filled, "fingerprint": b"f", "sealed": b"secret", "open_attempt": False}
        texts = {column.name: "x" for column in columns if isinstance(column.type, sqlalchemy.String)}
        row |= {name: texts[name] for name in row if name in texts}
        connection.execute(older.tables["jobs"].insert(), {**row, "id": "live"})
        connection.execute(older.tables["jobs"].insert(), {**row, "id": "over", "finished_at": 5})
    engine.dispose()
    database = Database(empty_database_url)
    with database.read() as connection:
        found = {row.id: bytes(row.sealed) for row in connection.execute(select(jobs.c.id, jobs.c.sealed))}
    database.close()

    assert found == {"live": b"secret", "over": b""}


def test_a_log_that_a_reader_made_large_is_cut_when_it_is_gone(tmp_path: Path) -> None:
    """While somebody reads it grows; then it is emptied, and what was in it is in the database."""
    database = Database(f"sqlite:///{tmp_path / 'nodus.db'}")
    log = tmp_path / "nodus.db-wal"
    with database.snapshot() as connection:
        connection.execute(text("SELECT count(*) FROM settings"))
        for number in range(40):
            with database.write() as writing:
                writing.execute(settings.insert().values(name=f"n{number}", value="x" * 300_000))
        large = log.stat().st_size
        while_read = database.cut_log()
    cut = database.cut_log()
    again = database.cut_log()
    with database.read() as connection:
        kept = connection.execute(text("SELECT count(*) FROM settings WHERE name LIKE 'n%'")).scalar()
    size = log.stat().st_size
    database.close()

    assert large > LOG_BYTES
    assert (while_read, cut, again) == (False, True, False)
    assert (size, kept) == (0, 40)


def test_without_a_worker_the_log_shrinks_as_others_write(tmp_path: Path) -> None:
    """SQLite itself cuts it when it begins at its beginning again."""
    database = Database(f"sqlite:///{tmp_path / 'nodus.db'}")
    log = tmp_path / "nodus.db-wal"
    with database.snapshot() as connection:
        connection.execute(text("SELECT count(*) FROM settings"))
        for number in range(40):
            with database.write() as writing:
                writing.execute(settings.insert().values(name=f"n{number}", value="x" * 300_000))
        large = log.stat().st_size
    for number in range(3):
        with database.write() as writing:
            writing.execute(settings.insert().values(name=f"m{number}", value=""))
    size = log.stat().st_size
    database.close()

    assert size < large / 2


def test_in_memory_there_is_no_log() -> None:
    """A database in memory has no write-ahead log to empty."""
    database = Database()
    cut = database.cut_log()
    database.close()

    assert not cut
