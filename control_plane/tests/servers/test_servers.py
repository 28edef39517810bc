"""The servers that other tests stand on are real, and each test has one of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from patience import PATIENCE_SECONDS

from servers import programs
from servers.postgresql import PostgresServer
from servers.process import Account, ServerFailed, ServerProcess, discard
from servers.redis import RedisServer
from servers.slurm import SlurmCluster


def connect(url: str) -> psycopg.Connection[tuple[object, ...]]:
    """Connect to the database of a URL."""
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)


def is_answered(port: int) -> bool:
    """Say whether anybody listens on a port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS).close()
    except ConnectionError:
        return False
    return True


def test_a_test_has_an_empty_postgresql_of_a_version_that_is_supported(postgres_url: str) -> None:
    """It is 15 or newer, and nobody's tables are in it."""
    with connect(postgres_url) as connection:
        version = connection.info.server_version
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()

    assert version >= 150_000
    assert tables == (0,)


def test_a_copy_of_a_database_begins_with_what_that_one_holds(postgres_server: PostgresServer) -> None:
    """Neither sees what is written to the other afterwards."""
    original = postgres_server.create_database()
    with postgres_server.connect(original) as connection:
        connection.execute("CREATE TABLE seen (what text)")
        connection.execute("INSERT INTO seen VALUES ('before')")
    copy = postgres_server.create_database(original)
    with postgres_server.connect(copy) as connection:
        connection.execute("INSERT INTO seen VALUES ('after')")
        in_copy = connection.execute("SELECT what FROM seen ORDER BY what").fetchall()
    with postgres_server.connect(original) as connection:
        in_original = connection.execute("SELECT what FROM seen").fetchall()

    assert (in_original, in_copy) == ([("before",)], [("after",), ("before",)])


def test_a_restarted_server_keeps_its_port_and_its_data(postgres_server: PostgresServer) -> None:
    """A restart costs only the open connections."""
    name = postgres_server.create_database()
    with postgres_server.connect(name) as connection:
        connection.execute("CREATE TABLE kept ()")
        url = postgres_server.url(name)
        postgres_server.restart()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")

    assert postgres_server.url(name) == url
    with postgres_server.connect(name) as connection:
        assert connection.execute("SELECT to_regclass('kept') IS NOT NULL").fetchone() == (True,)


def test_redis_answers_and_holds_nothing(redis_url: str) -> None:
    """Each test finds it empty."""
    port = int(redis_url.rsplit(":", 1)[1].split("/")[0])
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(b"DBSIZE\r\n")

        assert connection.recv(64) == b":0\r\n"


def test_a_server_that_cannot_start_is_reported_with_its_log(tmp_path: Path) -> None:
    """Who reads the failure need not look for the log."""
    account = Account()
    folder = account.make_folder()
    server = ServerProcess(
        lambda _port: ["/bin/sh", "-c", "echo address already in use"], lambda _port: False, account, folder
    )

    try:
        with pytest.raises(ServerFailed, match="address already in use"):
            server.start()
    finally:
        discard(folder)


def test_a_server_ends_with_the_process_that_started_it(redis_server: RedisServer) -> None:
    """Even where that one was killed and could stop nothing."""
    program = (
        "import sys, pathlib; from servers.redis import RedisServer\n"
        "print(RedisServer(pathlib.Path(sys.argv[1])).start().url, flush=True); sys.stdin.read()"
    )
    folder = Account().make_folder()
    starter = subprocess.Popen(
        [sys.executable, "-c", program, redis_server.program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path]),
            "TMPDIR": str(folder),
        },
    )
    with starter:
        assert starter.stdout is not None
        port = int(starter.stdout.readline().decode().rsplit(":", 1)[1].split("/")[0])
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS).close()
        starter.kill()

    deadline = time.monotonic() + PATIENCE_SECONDS
    while is_answered(port):
        assert time.monotonic() < deadline, "the server goes on"
        time.sleep(0.01)
    discard(folder)


def test_slurm_has_two_nodes_and_knows_no_job(slurm: SlurmCluster) -> None:
    """A test finds both of them, though an earlier one may have killed everything."""
    slurm.command("sbatch", "--output=/dev/null", "--wrap=exec sleep 600")
    slurm.kill_controller()
    slurm.kill_node("n2")
    slurm.empty()

    assert slurm.command("squeue", "--noheader", "--states=RUNNING,PENDING") == ""
    assert slurm.command("sinfo", "--noheader", "--Node", "--format=%N %T %G").splitlines() == [
        "n1 idle gpu:h100:8",
        "n2 idle gpu:h100:8",
    ]


@pytest.mark.parametrize(("version", "is_usable"), [("14.9", False), ("99.1", True)])
def test_a_postgresql_on_path_is_used_from_15_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, is_usable: bool
) -> None:
    """Whatever other versions are installed."""
    for name in ("postgres", "initdb"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert (programs.postgresql_folder() == tmp_path) == is_usable
