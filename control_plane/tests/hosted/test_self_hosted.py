"""The self-hosted form: API and workers as processes of their own, any number of them on one database."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import forked
import httpx
import pytest
from hosted.processes import Hosted, post
from patience import PATIENCE_SECONDS, eventually
from servers.engines import POSTGRESQL
from servers.postgresql import PostgresServer
from sqlalchemy import func, select
from supplier_files import COMMANDS, SIMULATIONS

from nodus_control.control_plane import ControlPlane
from nodus_ledger.database.schema import attempts, jobs
from nodus_ledger.keys.keys import PrincipalKind
from nodus_ledger.verification.verify import verify

SPEC = {"image": "x", "gpu": "h100_80gb", "max_runtime_seconds": 60}


def client_of(control_plane: ControlPlane, base_url: str, *, is_test: bool = True) -> httpx.Client:
    """Make a client with a new key, by default one for simulations."""
    minted = control_plane.keys.mint(
        customer_id="acme", label="", principal_kind=PrincipalKind.HUMAN, now=control_plane.clock.now(), is_test=is_test
    )
    headers = {"Authorization": f"Bearer {minted.api_key}"}
    return httpx.Client(base_url=base_url, headers=headers, trust_env=False, timeout=PATIENCE_SECONDS)


def submit(client: httpx.Client, count: int) -> list[str]:
    """Submit jobs; give their ids."""
    return [post(client, "/v1/jobs", SPEC).raise_for_status().json()["id"] for _ in range(count)]


def submit_commands(client: httpx.Client, file: Path, count: int) -> list[str]:
    """Submit commands that take a second and write their name to a file; return the names."""
    names = [f"job {number}" for number in range(count)]
    for name in names:
        command = ["sh", "-c", 'echo "$NAME" >> "$FILE"; sleep 1']
        spec = {**SPEC, "command": command, "env": {"NAME": name, "FILE": str(file)}, "max_runtime_seconds": 3600}
        post(client, "/v1/jobs", spec).raise_for_status()
    return names


def ran(file: Path) -> list[str]:
    """Return the names that commands wrote."""
    return sorted(file.read_text().splitlines())


def counts(control_plane: ControlPlane) -> Mapping[str, int]:
    """Count the jobs by their status."""
    with control_plane.database.read() as connection:
        query = select(jobs.c.status, func.count()).group_by(jobs.c.status)
        return {row[0]: row[1] for row in connection.execute(query)}


@pytest.mark.both_engines
def test_a_job_that_one_process_accepts_another_runs(hosted: Hosted, here: ControlPlane) -> None:
    """Without seeded keys and without the playground's controls; both end with a signal."""
    base_url = hosted.serve()
    hosted.work()
    with client_of(here, base_url) as client:
        job_id = submit(client, 1)[0]
        eventually(lambda: client.get(f"/v1/jobs/{job_id}").json()["status"] != "queued", hosted.output)
        controls = client.get("/_dev/state")
        page = client.get("/")

    assert (controls.status_code, page.status_code) == (404, 404)
    assert hosted.stop() == [0, 0]


@pytest.mark.parametrize(
    ("suppliers", "said"),
    [(SIMULATIONS, "Nothing runs: suppliers, jobs and prices are simulated"), (COMMANDS, "Commands really run")],
)
def test_both_say_at_the_start_what_runs(hosted: Hosted, suppliers: tuple[str, str], said: str) -> None:
    """Nobody takes a simulation for the real thing, nor the other way round."""
    hosted.serve(*suppliers)
    hosted.work(*suppliers)

    eventually(lambda: hosted.output().count(said) == 2, hosted.output)


def test_a_job_that_nobody_simulates_any_more_never_runs(hosted: Hosted, here: ControlPlane, tmp_path: Path) -> None:
    """Once all suppliers really run jobs, those that were to be simulated end as what nobody takes."""
    simulated = hosted.serve()
    with client_of(here, simulated) as test:
        waiting = submit(test, 1)[0]
        real = hosted.serve(*COMMANDS, "--accept-suppliers")
        hosted.work(*COMMANDS)
        with client_of(here, real, is_test=False) as live:
            submit_commands(live, tmp_path / "ran", 1)
            eventually(lambda: counts(here) == {"completed": 1, "failed": 1}, hosted.output)
            seen = [(each["status"], each["simulated"]) for each in live.get("/v1/jobs").json()["jobs"]]
            ended = test.get(f"/v1/jobs/{waiting}").json()

    assert seen == [("completed", False), ("failed", True)]
    assert (ended["error_code"], ended["cost_usd"], ended["supplier"]) == ("no_supplier", 0, None)
    assert verify(here.database).is_sound


@pytest.mark.parametrize("engine", [POSTGRESQL], indirect=True)
def test_two_workers_share_the_work_and_run_nothing_twice(hosted: Hosted, here: ControlPlane, tmp_path: Path) -> None:
    """Real commands, each of which says that it ran; both workers claim from the one table."""
    base_url = hosted.serve(*COMMANDS)
    hosted.work(*COMMANDS)
    hosted.work(*COMMANDS)
    with client_of(here, base_url, is_test=False) as client:
        names = submit_commands(client, tmp_path / "ran", 8)
        eventually(lambda: counts(here) == {"completed": 8}, hosted.output)

    assert ran(tmp_path / "ran") == names
    with here.database.read() as connection:
        per_job = select(func.count()).select_from(attempts).group_by(attempts.c.job_id)
        assert list(connection.execute(per_job).scalars()) == [1] * 8
    assert verify(here.database).is_sound


@pytest.mark.parametrize("engine", [POSTGRESQL], indirect=True)
def test_what_a_killed_worker_had_another_takes_over(hosted: Hosted, here: ControlPlane, tmp_path: Path) -> None:
    """Once its leases have run out, which is hastened here: nothing stays behind, and nothing runs again."""
    base_url = hosted.serve(*COMMANDS)
    doomed = hosted.work(*COMMANDS)
    with client_of(here, base_url, is_test=False) as client:
        names = submit_commands(client, tmp_path / "ran", 4)
        eventually(lambda: "queued" not in counts(here), hosted.output)
        doomed.kill()
        doomed.wait()
        with here.database.write() as connection:
            # As if it had died between a claim and what came of it.
            left = jobs.update().where(jobs.c.due_at.is_not(None))
            connection.execute(left.values(lease_owner="the dead", lease_until=int(time.time() * 1000) + 1000))
        hosted.work(*COMMANDS)
        eventually(lambda: counts(here) == {"completed": 4}, hosted.output)

    assert ran(tmp_path / "ran") == names
    assert verify(here.database).is_sound


@pytest.mark.parametrize("engine", [POSTGRESQL], indirect=True)
def test_several_processes_answer_behind_one_address(hosted: Hosted, here: ControlPlane) -> None:
    """Those that die are replaced, for good, and all end with the one that started them."""
    base_url = hosted.serve("--workers", "2")
    server = hosted.processes[0]
    doomed = both_children_of(server.pid)
    for child in doomed:
        os.kill(child, signal.SIGKILL)
    eventually(lambda: not set(doomed) & set(children_of(server.pid)), hosted.output)
    children = both_children_of(server.pid)
    with client_of(here, base_url) as client:
        submit(client, 10)

    assert counts(here) == {"queued": 10}
    assert hosted.stop() == [0]
    eventually(lambda: not any(map(is_alive, children)))
    assert hosted.output().count("a process ended") == 2, hosted.output()


@pytest.mark.parametrize("engine", [POSTGRESQL], indirect=True)
def test_a_restarted_database_needs_no_restart_here(
    hosted: Hosted, here: ControlPlane, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """API and worker lose all their connections, say so, and go on with new ones."""
    base_url = hosted.serve(*COMMANDS)
    hosted.work(*COMMANDS)
    with client_of(here, base_url, is_test=False) as client:
        before = submit_commands(client, tmp_path / "before", 2)
        eventually(lambda: counts(here) == {"completed": 2}, hosted.output)
        postgres_server.stop()
        refused = client.post("/v1/jobs", json=SPEC)
        eventually(lambda: "the worker: the database cannot be used right now" in hosted.output(), hosted.output)
        postgres_server.start_again()
        after = submit_commands(client, tmp_path / "after", 2)
        eventually(lambda: counts(here) == {"completed": 4}, hosted.output)

    assert (refused.status_code, refused.json()["error"]) == (503, "database_unavailable")
    assert int(refused.headers["retry-after"]) > 0
    assert (ran(tmp_path / "before"), ran(tmp_path / "after")) == (before, after)
    assert verify(here.database).is_sound


def test_they_end_with_the_one_that_was_killed(hosted: Hosted, here: ControlPlane) -> None:
    """Nobody goes on answering whom nobody can stop."""
    hosted.serve("--workers", "2")
    server = hosted.processes[0]
    children = both_children_of(server.pid)
    server.kill()
    server.wait()

    eventually(lambda: not any(map(is_alive, children)))


@pytest.mark.parametrize(
    ("command", "url", "environment", "message"),
    [
        ("serve", "{url}", {"NODUS_KEY_ENCRYPTION_KEY": ""}, "set NODUS_KEY_ENCRYPTION_KEY"),
        ("worker", "{url}", {"NODUS_KEY_ENCRYPTION_KEY": ""}, "set NODUS_KEY_ENCRYPTION_KEY"),
        ("serve", "postgresql+psycopg://127.0.0.1:1/x", {}, "cannot open the database"),
        ("serve", "sqlite://", {}, "--workers needs a database that several processes can open"),
    ],
)
def test_what_it_cannot_start_with_is_said_in_a_line(
    postgres_url: str, command: str, url: str, environment: dict[str, str], message: str
) -> None:
    """With exit status 3, and without a traceback."""
    options = [*SIMULATIONS, *(["--workers", "2", "--port", "0"] if command == "serve" else [])]
    variables = {**os.environ, "NODUS_DATABASE_URL": url.format(url=postgres_url), **environment}
    ended = forked.run("control", command, *options, env=variables)

    assert ended.returncode == 3
    assert message in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started to answer requests."""
    return [child for child, parent, _, command in listed_processes() if parent == pid and "spawn_main" in command]


def both_children_of(pid: int) -> list[int]:
    """Wait until a process has two of them: one may answer before the other is there."""
    eventually(lambda: len(children_of(pid)) == 2)
    return children_of(pid)


def is_alive(pid: int) -> bool:
    """Say whether a process is still there, and more than a name that nobody has asked for yet."""
    return any(one == pid and not state.startswith("Z") for one, _, state, _ in listed_processes())


def listed_processes() -> list[tuple[int, int, str, str]]:
    """List all processes: pid, parent's pid, state, command."""
    command = ["ps", "-A", "-ww", "-o", "pid=,ppid=,stat=,args="]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)
    found = [line.split(None, 3) for line in listed.stdout.splitlines()]
    return [(int(pid), int(parent), state, " ".join(rest)) for pid, parent, state, *rest in found]
