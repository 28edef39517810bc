"""Answers that break off in their middle: nobody takes a part for the whole, and the log says it in a line."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
from servers.engines import POSTGRESQL
from servers.postgresql import PostgresServer
from trust_ledger.history import key_of, submit

import nodus
from nodus_control.testing import LocalControlPlane
from nodus_core.times import timestamp
from nodus_ledger.errors import DatabaseUnavailable
from nodus_ledger.trust import statements
from nodus_ledger.trust.statements import Statements

BROKE_OFF = "GET /v1/ledger/statement broke off in the middle of its answer: 503 database_unavailable"


def month_of(control_plane: LocalControlPlane) -> str:
    """Have some rows written; return their month."""
    for number in range(3):
        submit(control_plane, key_of(control_plane, control_plane.api_key), number)
    return timestamp(control_plane.plane.clock.now())[:7]


@pytest.mark.parametrize("engine", [POSTGRESQL], indirect=True)
def test_a_connection_that_is_cut_in_the_middle_of_a_statement(
    database_url: str,
    postgres_server: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """The client has its typed error and no file; there is a line that says what to do, and no traceback."""
    monkeypatch.setattr(statements, "PAGE_ROWS", 2)
    rows_of = Statements._rows

    def cut(self: Statements, statement: Any, first: int, last: int) -> list[tuple[str, str, str]]:
        if first == 1:
            return rows_of(self, statement, first, last)
        with self._database.read() as connection, postgres_server.connect(database_url.rpartition("/")[2]) as operator:
            backend = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            operator.execute("SELECT pg_terminate_backend(%s)", [backend])
            connection.exec_driver_sql("SELECT pg_sleep(60)")
        return []

    with (
        LocalControlPlane(database=database_url) as control_plane,
        nodus.Client(control_plane.api_key, base_url=control_plane.base_url) as client,
    ):
        month = month_of(control_plane)
        monkeypatch.setattr(Statements, "_rows", cut)
        with pytest.raises(nodus.APIConnectionError, match="incomplete chunked read"):
            client.ledger.statement(month).save(tmp_path / "statement.ndjson")
        monkeypatch.setattr(Statements, "_rows", rows_of)
        left = list(tmp_path.iterdir())
        client.ledger.statement(month).save(tmp_path / "statement.ndjson")

    said = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert left == []
    assert sum(BROKE_OFF in record.getMessage() for record in said) == 1
    assert [record for record in said if record.exc_info or "\n" in record.getMessage()] == []


@pytest.mark.anyio
async def test_a_client_in_the_same_process_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if its connection had broken."""

    def unavailable(*_: object) -> list[tuple[str, str, str]]:
        raise DatabaseUnavailable("gone")

    with LocalControlPlane(serve=False) as control_plane:
        month = month_of(control_plane)
        monkeypatch.setattr(Statements, "_rows", unavailable)
        transport = httpx.ASGITransport(control_plane.asgi_app)
        headers = {"Authorization": f"Bearer {control_plane.api_key}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
            with pytest.raises(httpx.RemoteProtocolError, match="broke off"):
                await client.get("/v1/ledger/statement", params={"month": month})
