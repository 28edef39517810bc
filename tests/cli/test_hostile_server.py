"""Whatever a server says, in whatever command: the terminal shows it, and obeys none of it."""

from __future__ import annotations

import ast
import json
import logging
import os
import signal
import threading
from pathlib import Path

import pytest

import nodus as sdk
from nodus._cli import registry
from nodus._cli.output import Output
from tests.cli.conftest import Command, Result
from tests.cli.stub import Answer, Request, Stub
from tests.cli.test_interrupts import posix_only
from tests.support.signed_ledger import checkpoint_of, key_of, rows

EVIL = "a\x1b]0;pwned\x07\x9b31m\u202e\nFORGED LINE\rx"
SECRET = "whsec_" + "0" * 48
WHEN = "2026-01-01T00:00:00Z"
CLI = Path(registry.__file__).parent

JOB = {
    **dict.fromkeys(("id", "supplier", "region", "error_code", "error_message", "image", "gpu"), EVIL),
    "status": "failed",
    "created_at": WHEN,
    "cost_usd": 1.0,
}
EVENT = {
    **dict.fromkeys(("job_id", "supplier", "region", "reason"), EVIL),
    "id": "1",
    "type": "job.transition",
    "seq": 1,
    "status": "failed",
    "attempt": 1,
    "at": WHEN,
}
HOOK = {"id": EVIL, "url": EVIL, "events": [EVIL], "created_at": WHEN, "secret": EVIL}
DELIVERY = {
    **dict.fromkeys(("id", "event_id", "event_type", "status"), EVIL),
    "attempts": [{"at": WHEN, "error": EVIL, "latency_ms": 3}],
}
ENTRY = {
    **dict.fromkeys(("at", "kind", "job_id", "key_id", "principal_kind", "leaf_hash", "prev_hash", "leaf"), EVIL),
    "seq": 1,
    "payload": {EVIL: EVIL},
}
PROOF = {"leaf_hash": EVIL, "hashes": [EVIL], "seq": 1, "size": 1, "from": 1, "to": 1}
CHECKPOINT = {"origin": EVIL, "size": 1, "root_hash": EVIL, "note": EVIL}

# Everything at once: each command takes the fields that it knows.
AMOUNTS = {"jobs": 1, "gpu_seconds": 1, "cost_usd": 1}
ANSWER = {
    **PROOF,
    **CHECKPOINT,
    **HOOK,
    **JOB,
    "jobs": [JOB],
    "webhooks": [HOOK],
    "deliveries": [DELIVERY],
    "entries": [ENTRY],
    "label": EVIL,
    "from": "2026-10-01T00:00:00Z",
    "to": "2026-11-01T00:00:00Z",
    "groups": [{"supplier": EVIL, "region": EVIL, "key": EVIL, **AMOUNTS}],
    "total": AMOUNTS,
    "principal_kind": EVIL,
    "version": EVIL,
    "event_id": EVIL,
    "event_type": EVIL,
    "algorithm": EVIL,
    "public_key": EVIL,
    "vkey": EVIL,
    "error": EVIL,
    "message": EVIL,
    "request_id": EVIL,
}

# How each command is called; commands that ask no server say why they are not here.
CALLS: dict[str, tuple[str, ...]] = {
    "run": ("--image", "a"),
    "list": (),
    "get": ("job-1",),
    "wait": ("job-1", "--timeout", "0"),
    "cancel": ("job-1",),
    "logs": ("job-1",),
    "events": ("job-1",),
    "quote": ("--image", "ghcr.io/acme/train:v3"),
    "offers": (),
    "usage": ("--by", "supplier,region,key"),
    "key": (),
    "webhooks create": ("https://hooks.example/", "--event", "job.failed"),
    "webhooks list": (),
    "webhooks get": ("wh_1",),
    "webhooks delete": ("wh_1",),
    "webhooks enable": ("wh_1",),
    "webhooks rotate": ("wh_1",),
    "webhooks deliveries": ("wh_1",),
    "webhooks replay": ("wh_1", "d_1"),
    "webhooks listen": ("--forward-to", "http://127.0.0.1:9/x"),
    "ledger entries": (),
    "ledger statement": ("--month", "2026-01"),
    "ledger checkpoint": (),
    "ledger key": (),
    "ledger proof": ("1",),
    "ledger consistency": ("1", "1"),
    "ledger verify": (),
    "health": (),
    "doctor": (),
}
WITHOUT_SERVER = {"sign": "a computation", "verify": "a computation", "completion": "a fixed text"}


def hostile(stub: Stub, status: int) -> None:
    """Answer every request with everything, under this status."""

    class Everything(dict[str, object]):
        def get(self, route: str, default: object = None) -> object:  # type: ignore[override]
            def respond(request: Request) -> Answer:
                if request.path.endswith("/logs"):
                    return Answer(status, EVIL)
                if request.path.endswith("/events") and status == 200:
                    return Answer(200, f"id: 1\ndata: {json.dumps(EVENT)}\n\n", {"Content-Type": "text/event-stream"})
                return Answer(status, ANSWER, {"Retry-After": "0"})

            return respond

    stub.scripts = Everything()  # type: ignore[assignment]


def assert_harmless(result: Result, *, is_program_text: bool = False) -> None:
    """Nothing steers; and unless a program printed it, no line of the server's stands by itself."""
    allowed = "\n\t\r" if is_program_text else "\n\t"
    for text in (result.stdout, result.stderr):
        assert text.translate({ord(character): None for character in allowed}).isprintable()
        assert is_program_text or not any(line.startswith("FORGED") for line in text.splitlines())


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a person read, who wants no colours."""
    monkeypatch.setattr("nodus._cli.output._is_terminal", lambda stream: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "1000")


def test_every_command_is_called_here() -> None:
    """A new command must be added to the calls, or listed with the reason why not."""
    paths = [path for name in registry.COMMANDS for path, _ in registry.leaves(name)]

    assert sorted(paths) == sorted([*CALLS, *WITHOUT_SERVER])


@pytest.mark.parametrize("status", [200, 400, 403, 404])
@pytest.mark.parametrize("path", CALLS)
@pytest.mark.usefixtures("on_a_terminal")
def test_no_command_lets_a_server_steer_the_terminal(stub: Stub, nodus: Command, path: str, status: int) -> None:
    """This holds for successful responses and for errors."""
    hostile(stub, status)
    result = nodus(*path.split(), *CALLS[path])

    assert_harmless(result, is_program_text=path == "logs" and status == 200)
    assert result.stdout + result.stderr


@pytest.mark.parametrize("more", [(), ("--wait",), ("--json",), ("--wait", "--json")])
@pytest.mark.usefixtures("on_a_terminal")
def test_nor_does_it_with_many_jobs(stub: Stub, nodus: Command, tmp_path: Path, more: tuple[str, ...]) -> None:
    """One that was submitted and one that was not, with everything in each."""
    sweep = tmp_path / "sweep.toml"
    sweep.write_text("image = 'a'\nmatrix.N = [1, 2]", encoding="utf-8")
    hostile(stub, 200)
    results = {"results": [{"job": JOB}, {**ANSWER, "status": 402}]}
    everything = stub.scripts.get
    answers = {"POST /v1/jobs/batch": lambda request: Answer(200, results)}
    stub.scripts.get = lambda route, default=None: answers.get(route) or everything(route)  # type: ignore[method-assign]
    result = nodus("run", "--file", str(sweep), *more)

    assert_harmless(result)
    assert result.status == 7
    assert "1b]0;pwned" in result.stdout
    assert more or "1b]0;pwned" in result.stderr


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("path", CALLS)
def test_json_and_rows_are_escaped_in_a_pipe_too(stub: Stub, nodus: Command, path: str, status: int) -> None:
    """They may end up on a terminal; the JSON still parses to what the server sent."""
    hostile(stub, status)
    in_a_pipe, as_json = nodus(*path.split(), *CALLS[path]), nodus(*path.split(), *CALLS[path], "--json")

    if not (path == "logs" and status == 200):
        assert_harmless(in_a_pipe)
    assert_harmless(as_json)
    for line in [*as_json.stdout.splitlines(), *as_json.stderr.splitlines()]:
        json.loads(line)


@pytest.mark.usefixtures("on_a_terminal")
def test_retries_and_the_librarys_log_are_one_line_each(
    stub: Stub, nodus: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line break in a server's message does not begin another log entry."""
    hostile(stub, 503)
    with_notes = nodus("get", "job-1")
    logger = logging.getLogger("nodus")
    before, level = logger.handlers[:], logger.level
    monkeypatch.setenv("NODUS_LOG", "debug")
    try:
        with_log = nodus("get", "job-1")
    finally:
        logger.handlers[:], logger.level = before, level

    for result in (with_notes, with_log):
        assert_harmless(result)
        assert "retry 1 of 2" in result.stderr


@posix_only
def test_the_line_to_paste_is_a_secret_and_nothing_else(stub: Stub, nodus: Command) -> None:
    """A malformed secret is refused and the endpoint removed; a good one is quoted for the shell."""
    stub.answer("DELETE /v1/webhooks/wh_1", Answer(204))
    for secret in ("whsec_1; touch PWNED #", "whsec_", "whsec_G", "whsec_1\n", None):
        stub.answer("POST /v1/webhooks", Answer(201, {**HOOK, "id": "wh_1", "secret": secret}))
        result = nodus("webhooks", "listen", "--forward-to", "http://127.0.0.1:9/x")

        assert (result.status, result.stdout) == (10, "")
        assert "no secret of the form whsec_" in result.stderr
        assert "export" not in result.stderr

    assert len(stub.called("DELETE /v1/webhooks/wh_1")) == 5

    def register(request: Request) -> Answer:
        threading.Timer(0, os.kill, (os.getpid(), signal.SIGINT)).start()
        return Answer(201, {**HOOK, "id": "wh_1", "secret": SECRET})

    stub.scripts["POST /v1/webhooks"] = register
    assert nodus("webhooks", "listen", "--forward-to", "http://127.0.0.1:9/x").status == 130


def test_a_line_to_paste_names_a_job_and_does_nothing_else(stub: Stub, nodus: Command) -> None:
    """The job's id is quoted for the shell."""
    stub.answer("POST /v1/jobs", Answer(202, {"id": "x; touch PWNED", "status": "queued"}))

    assert "nodus wait 'x; touch PWNED'" in nodus("run", "--image", "a").stderr


def test_logs_are_raw_on_a_terminal_only_if_that_is_asked_for(
    stub: Stub, nodus: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `--raw`, only a pipe or a file gets the bytes unchanged."""
    stub.answer("GET /v1/jobs/job-1/logs", Answer(200, "\x1b[31mred\x1b[2J\n"))
    in_a_pipe = nodus("logs", "job-1").stdout
    monkeypatch.setattr("nodus._cli.output._is_terminal", lambda stream: True)

    assert in_a_pipe == nodus("logs", "job-1", "--raw").stdout == "\x1b[31mred\x1b[2J\n"
    assert nodus("logs", "job-1").stdout == "\x1b[31mred\\x1b[2J\n\x1b[0m"


def test_only_one_module_writes() -> None:
    """All text goes through `Output`, whose methods escape it."""
    writers = {"__init__.py": "before anything is loaded", "output.py": "the one", "reference.py": "a page of our own"}
    found = {
        path.relative_to(CLI).as_posix()
        for path in CLI.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Attribute) and node.attr in ("write", "writelines", "echo", "secho", "print_exc"))
        or (isinstance(node, ast.Name) and node.id == "print")
    }

    assert found <= set(writers)


@pytest.mark.parametrize(
    "write",
    [
        lambda output: output.data(EVIL),
        lambda output: output.row([EVIL, None, 1]),
        lambda output: output.lines(EVIL.replace("\nFORGED", "")),
        lambda output: output.json({EVIL: EVIL}),
        lambda output: output.json_text(json.dumps([EVIL], ensure_ascii=False)),
        lambda output: output.note(EVIL),
        lambda output: output.error({"message": EVIL}),
    ],
)
def test_every_way_to_write_escapes(write: object, capfd: pytest.CaptureFixture[str]) -> None:
    """No public method of `Output` passes control characters through."""
    assert callable(write)
    write(Output())
    written = capfd.readouterr()

    assert_harmless(Result(0, written.out, written.err))


def test_a_signed_checkpoint_is_printed_byte_for_byte(stub: Stub, nodus: Command) -> None:
    """Escaping changes nothing where there is nothing to escape."""
    made = rows(2)
    stub.answer("GET /v1/ledger/checkpoint", Answer(200, checkpoint_of(made)))
    stub.answer("GET /v1/ledger/key", Answer(200, key_of()))

    assert nodus("ledger", "checkpoint").stdout == checkpoint_of(made)["note"]
    assert sdk.verify_ledger(made, checkpoint=checkpoint_of(made)["note"]).size == 2
