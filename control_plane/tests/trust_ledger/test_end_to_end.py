"""The customer's side: the SDK reads the ledger over HTTP and verifies it without trusting the server."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
from patience import PATIENCE_SECONDS
from sqlalchemy import update

import nodus
from nodus_control.testing import LocalControlPlane
from nodus_ledger.admin.program import main
from nodus_ledger.database.database import Database
from nodus_ledger.database.schema import jobs
from nodus_ledger.database.trust_schema import SQLITE_TRIGGERS
from nodus_ledger.trust.log import Entry, append_all
from nodus_ledger.verification.verify import verify


@pytest.fixture
def served(tmp_path: Path) -> Iterator[LocalControlPlane]:
    """A control plane on loopback, with a database that is kept."""
    with LocalControlPlane(database=tmp_path / "nodus.db") as started:
        yield started


def client_of(control_plane: LocalControlPlane) -> nodus.Client:
    return nodus.Client(api_key=control_plane.api_key, base_url=control_plane.base_url)


def run_jobs(control_plane: LocalControlPlane, client: nodus.Client, count: int) -> list[nodus.Job]:
    """Run small jobs to their end."""
    ran = [client.run(image="ghcr.io/acme/train:v3", env={"NODUS_SIM_DURATION_SECONDS": "60"}) for _ in range(count)]
    control_plane.advance(600)
    return [job.refresh() for job in ran]


def test_a_customer_verifies_everything_offline(served: LocalControlPlane) -> None:
    """Rows against the checkpoint, the checkpoint against the pinned key, a job's end against the rows."""
    with client_of(served) as client:
        key = client.ledger.key()
        job = run_jobs(served, client, 3)[-1]
        early = client.ledger.checkpoint()
        run_jobs(served, client, 2)
        late = client.ledger.checkpoint()
        entries = client.ledger.entries()
        assert job.view.ledger is not None
        proof = client.ledger.proof(job.view.ledger.seq, size=late.size)
        growth = client.ledger.consistency(early.size, late.size)

        report = nodus.verify_ledger(entries, checkpoint=late, public_key=key, known_checkpoint=early)
        nodus.verify_inclusion(job.view.ledger, proof, checkpoint=late, public_key=key)
        nodus.verify_consistency(early, late, growth, public_key=key)

        assert (report.size, report.root_hash) == (late.size, late.root_hash)
        assert [entry.kind for entry in job.ledger()][-2:] == ["job.transition", "job.settled"]
        assert job.ledger()[-1].payload["cost_micros"] == round((job.cost_usd or 0) * 1_000_000)


def test_the_name_of_a_job_is_in_the_row_of_its_submission(served: LocalControlPlane) -> None:
    """As it came; a row of the jobs' table that says otherwise is found."""
    with client_of(served) as client:
        named = client.run(image="a/b", name="夜間 1")
        unnamed = client.run(image="a/b")
        recorded = [job.ledger()[0] for job in (named, unnamed)]
    database = served.plane.database
    sound = verify(database).is_sound
    with database.write() as connection:
        connection.execute(update(jobs).where(jobs.c.id == named.id).values(name=None))
    faults = [str(fault) for fault in verify(database).faults]

    assert [(row.kind, row.payload["name"]) for row in recorded] == [
        ("job.submitted", "夜間 1"),
        ("job.submitted", None),
    ]
    assert sound
    assert len(faults) == 1
    assert f"job {named.id}: it is not what the ledger says was submitted" in faults[0]


def test_an_export_verifies_line_by_line(
    served: LocalControlPlane, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What an operator hands out is what the customer would have read."""
    with client_of(served) as client:
        run_jobs(served, client, 2)
        checkpoint, key = client.ledger.checkpoint(), client.ledger.key()
    main(["export", "--db", f"sqlite:///{tmp_path / 'nodus.db'}"])
    lines = capsys.readouterr().out.splitlines()
    report = nodus.verify_ledger(lines, checkpoint=checkpoint, public_key=key)

    assert report.signature_verified
    assert report.size == checkpoint.size == len(lines)


def rewrite_whole(path: Path, customer_id: str) -> None:
    """Rewrite a log with its head and nodes, as if its jobs had run another image; everything fits again."""
    database = Database(f"sqlite:///{path}")
    with database.write() as connection:
        rows = connection.exec_driver_sql(
            "SELECT leaf FROM ledger WHERE customer_id = ? ORDER BY seq", (customer_id,)
        ).all()
        for name in SQLITE_TRIGGERS:
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
        for table in ("ledger", "ledger_heads", "ledger_states", "ledger_nodes", "ledger_checkpoints"):
            connection.exec_driver_sql(f"DELETE FROM {table} WHERE customer_id = ?", (customer_id,))
        entries = []
        for (leaf,) in rows:
            said = json.loads(leaf)
            if said["kind"] == "job.submitted":
                said["payload"]["image"] = "ghcr.io/acme/other:v1"
            at = _milliseconds(said["at"])
            names = ("job_id", "key_id", "principal_kind")
            entries.append(
                Entry(customer_id, said["kind"], at, said["payload"], **{name: said[name] for name in names})
            )
        append_all(connection, entries)
        connection.exec_driver_sql(
            "UPDATE jobs SET image = 'ghcr.io/acme/other:v1', ledger_hash = "
            "(SELECT leaf_hash FROM ledger WHERE ledger.customer_id = jobs.customer_id AND seq = ledger_seq)"
        )
    database.close()


def _milliseconds(at: str) -> int:
    return round(datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp() * 1000)


def test_a_history_rewritten_whole_is_found_by_who_kept_a_checkpoint(tmp_path: Path) -> None:
    """With rows, heads, nodes, other tables and checkpoints all made to fit, and signed with the true key."""
    path = tmp_path / "nodus.db"
    with LocalControlPlane(database=path) as control_plane, client_of(control_plane) as client:
        run_jobs(control_plane, client, 3)
        kept, key = client.ledger.checkpoint(), client.ledger.key()
    rewrite_whole(path, "playground")
    with LocalControlPlane(database=path) as control_plane, client_of(control_plane) as client:
        late, entries = client.ledger.checkpoint(), client.ledger.entries()
        with closing(Database(f"sqlite:///{path}")) as database:
            report = verify(database)

    # Nobody who begins now can tell.
    assert report.faults == []
    nodus.verify_ledger(entries, checkpoint=late, public_key=key)
    with pytest.raises(nodus.LedgerError) as caught:
        nodus.verify_ledger(entries, checkpoint=late, public_key=key, known_checkpoint=kept)
    assert caught.value.code == "ledger_history_rewritten"


def test_a_checkpoint_that_was_given_out_holds_the_operator_too(tmp_path: Path) -> None:
    """Where only the rows were rewritten, `verify` finds the checkpoint that no longer fits."""
    path = tmp_path / "nodus.db"
    with LocalControlPlane(database=path) as control_plane, client_of(control_plane) as client:
        run_jobs(control_plane, client, 1)
        client.ledger.checkpoint()
    with closing(Database(f"sqlite:///{path}")) as database, database.read() as connection:
        given = connection.exec_driver_sql("SELECT customer_id, size, root, note FROM ledger_checkpoints").all()
    rewrite_whole(path, "playground")
    with closing(Database(f"sqlite:///{path}")) as database:
        with database.write() as connection:
            for row in given:
                connection.exec_driver_sql("INSERT INTO ledger_checkpoints VALUES (?, ?, ?, ?)", tuple(row))
        faults = [str(fault) for fault in verify(database).faults]

    assert faults == [f"playground: the checkpoint of {given[0][1]} rows was given out, and the rows are others now"]


ENCODING = Path(__file__).resolve().parents[3] / "docs" / "reference" / "ledger-encoding.md"


@pytest.mark.skipif(not ENCODING.exists(), reason="the documentation is not beside these tests")
def test_a_stranger_verifies_a_statement_and_an_export(served: LocalControlPlane, tmp_path: Path) -> None:
    """The program in the documentation, and the SDK, take what the server gives; sums are those of the jobs."""
    with client_of(served) as client:
        ran = run_jobs(served, client, 3)
        month = client.ledger.entries()[-1].at[:7]
        key, checkpoint, entries = client.ledger.key(), client.ledger.checkpoint(), client.ledger.entries()
        client.ledger.statement(month).save(tmp_path / "statement")
    (tmp_path / "rows").write_bytes(b"".join(entry.model_dump_json().encode() + b"\n" for entry in entries))
    (tmp_path / "checkpoint").write_text(checkpoint.model_dump_json(), encoding="utf-8")
    program = re.search(r"^```python\n(.*?)^```$", ENCODING.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert program is not None
    (tmp_path / "verify.py").write_text(program[1], encoding="utf-8")
    said = [
        subprocess.run(
            [sys.executable, "verify.py", key.vkey, *files],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        ).stdout
        for files in (["statement"], ["rows", "checkpoint"])
    ]
    with (tmp_path / "statement").open("rb") as lines:
        report = nodus.verify_statement(lines, public_key=key)
    settled = [
        entry.payload["cost_micros"] for entry in entries if entry.kind == "job.settled" and entry.at[:7] == month
    ]

    assert said == ["verified\n", "verified\n"]
    assert len(ran) >= report.jobs == report.simulated_jobs == len(settled) > 0
    assert report.cost_micros == sum(settled)
