# Generated from tests/_async/test_statements.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""`client.ledger.statement()`: read line by line, or saved."""

from __future__ import annotations

from pathlib import Path

import pytest

import nodus
from tests._sync.clients import on_loopback
from tests.support import signed_ledger as ledger
from tests.support.server import Action, LoopbackServer, answer
from tests.support.streams import streams

ROWS = ledger.statement_rows((1_000_000, 23))
LINES = ledger.statement_of(ROWS, 2, 5)
TEXT = ledger.written(LINES)
UNAVAILABLE = answer(503, {"error": "database_unavailable", "message": "Later."})


def sent(*pieces: bytes, ends: bool = True) -> Action:
    """Send these parts of a statement."""
    return streams(*pieces, kind="application/x-ndjson", ends=ends)


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


@pytest.mark.parametrize("size", [1, 7, 1000, len(TEXT)])
def test_lines_come_as_they_were_written(size: int) -> None:
    """However they are cut on their way; they verify."""
    with LoopbackServer(sent(*(TEXT[at : at + size] for at in range(0, len(TEXT), size)))) as server:
        with on_loopback(server) as client:
            lines = [line for line in client.ledger.statement("2026-01")]

    assert lines == TEXT.decode().split("\n")[:-1]
    assert nodus.verify_statement(lines, public_key=ledger.key_of()).jobs == 2
    assert server.received[0].target == "/v1/ledger/statement?month=2026-01"


def test_a_last_line_without_its_end_is_a_line() -> None:
    """Whoever verifies says what is missing."""
    with LoopbackServer(sent(TEXT[:-1])) as server:
        with on_loopback(server) as client:
            lines = [line for line in client.ledger.statement("2026-01")]

    assert lines == TEXT.decode().split("\n")[:-1]


def test_a_statement_is_saved_whole(tmp_path: Path) -> None:
    """Byte for byte, in place of what was there, and with nothing else left."""
    target = tmp_path / "january.ndjson"
    target.write_text("before", encoding="utf-8")
    with LoopbackServer(sent(TEXT[:100], TEXT[100:])) as server:
        with on_loopback(server) as client:
            client.ledger.statement("2026-01").save(target)

    assert target.read_bytes() == TEXT
    assert files_in(tmp_path) == [target]


def test_a_statement_that_breaks_off_is_not_saved(tmp_path: Path) -> None:
    """What was there stays, and nobody takes a part for the whole."""
    target = tmp_path / "january.ndjson"
    target.write_text("before", encoding="utf-8")
    with LoopbackServer(sent(TEXT[:1000], ends=False)) as server:
        with on_loopback(server) as client:
            with pytest.raises(nodus.APIConnectionError):
                client.ledger.statement("2026-01").save(target)

    assert target.read_text(encoding="utf-8") == "before"
    assert files_in(tmp_path) == [target]


def test_a_server_that_is_not_there_is_asked_again() -> None:
    """Until the first byte has come."""
    with LoopbackServer(UNAVAILABLE, sent(ends=False), sent(TEXT)) as server:
        with on_loopback(server) as client:
            lines = [line for line in client.ledger.statement("2026-01")]

    assert len(lines) == len(LINES)
    assert len(server.received) == 3


def test_a_refusal_is_raised() -> None:
    """An agent's key gets no statement."""
    refused = answer(403, {"error": "forbidden_principal", "message": "An agent's key may not read statements."})
    with LoopbackServer(refused) as server:
        with on_loopback(server) as client:
            statement = client.ledger.statement("2026-01")
            with pytest.raises(nodus.NodusError) as caught:
                statement.__next__()
            rest = [line for line in statement]

    assert (caught.value.code, caught.value.status_code, caught.value.attempts) == ("forbidden_principal", 403, 1)
    assert rest == []


def test_a_statement_that_is_left_gives_its_connection_back() -> None:
    """And yields nothing more."""
    with LoopbackServer(sent(TEXT), answer(200, ledger.checkpoint_of(ROWS))) as server:
        with on_loopback(server, max_connections=1) as client:
            with client.ledger.statement("2026-01") as statement:
                first = statement.__next__()
            rest = [line for line in statement]
            checkpoint = client.ledger.checkpoint()

    assert (first, rest) == (TEXT.decode().split("\n")[0], [])
    assert checkpoint.size == len(ROWS)
    assert repr(statement).endswith("Statement month=2026-01>")


@pytest.mark.parametrize("month", ["2026-13", "2026", "", None, 202601])
def test_what_is_no_month_is_not_asked_for(month: object) -> None:
    """Nothing is sent."""
    with LoopbackServer() as server:
        with on_loopback(server) as client:
            with pytest.raises(nodus.ValidationError, match="must be a month such as '2026-10'"):
                client.ledger.statement(month)  # type: ignore[arg-type]

    assert server.received == []
