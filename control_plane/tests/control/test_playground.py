"""The playground as a command: what it prints and writes, whom it answers, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import forked
import httpx
import pytest
from patience import PATIENCE_SECONDS
from supplier_files import SIMULATIONS

from nodus_control.playground.guards import Guard, is_loopback


class Started:
    """A playground in a process of its own."""

    def __init__(
        self, directory: Path, *options: str, has_browser: bool = False, env: Mapping[str, str] | None = None
    ) -> None:
        self.runs_commands = "process" in options
        self.ready_file = directory / "ready.json"
        self.output = directory / "output.txt"
        more = ["--ready-file", str(self.ready_file), *options, *([] if has_browser else ["--no-browser"])]
        with self.output.open("wb") as file:
            environment = {**os.environ, **(env or {})}
            self.process = forked.start("playground", "--port", "0", *more, stdout=file, stderr=file, env=environment)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.ready_file.exists():
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, "it never became ready"
            time.sleep(0.02)
        self.ready: dict[str, Any] = json.loads(self.ready_file.read_text())
        self.client = httpx.Client(base_url=self.ready["base_url"], trust_env=False, timeout=PATIENCE_SECONDS)

    def end(self, how: signal.Signals) -> int:
        """Send a signal; return the exit status."""
        self.process.send_signal(how)
        return self.process.wait(PATIENCE_SECONDS)


@pytest.fixture(scope="module", params=["simulated", "process"])
def playground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """One playground of each driver, for tests that change nothing."""
    started = Started(tmp_path_factory.mktemp("playground"), "--driver", request.param)
    yield started
    started.client.close()
    started.end(signal.SIGKILL)


def test_the_ready_file_is_complete_and_private(playground: Started) -> None:
    """Whoever may read it may call the API: its owner alone."""
    assert set(playground.ready) == {
        "base_url",
        "page_url",
        "api_key",
        "agent_api_key",
        "agent_signing_secret",
        "pid",
    }
    assert playground.ready["pid"] == playground.process.pid
    assert stat.S_IMODE(playground.ready_file.stat().st_mode) == 0o600
    assert playground.client.get("/healthz").status_code == 200


def test_json_is_all_that_a_script_reads(tmp_path: Path) -> None:
    """One line on stdout, once requests are answered; the banner, for people, goes to stderr."""
    command = [sys.executable, "-m", "nodus_control.playground", "--port", "0", "--no-browser", "--json"]
    banner = tmp_path / "banner.txt"
    with banner.open("wb") as file:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True)
    with process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        health = httpx.get(f"{ready['base_url']}/healthz", trust_env=False, timeout=PATIENCE_SECONDS)
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()

    assert (health.status_code, rest, ready["pid"]) == (200, "", process.pid)
    assert f"export NODUS_BASE_URL={ready['base_url']} NODUS_API_KEY={ready['api_key']}" in banner.read_text()


def test_the_banner_says_how_to_call_it(playground: Started) -> None:
    """The page's URL, the lines to export, the signing secret, and that the state is lost on exit."""
    banner = playground.output.read_text()
    ready = playground.ready

    assert f"export NODUS_BASE_URL={ready['base_url']} NODUS_API_KEY={ready['api_key']}" in banner
    assert ready["page_url"] in banner
    assert ready["agent_signing_secret"] in banner
    assert "lost on exit" in banner


def test_seeded_keys_are_fixed_only_where_nothing_runs(playground: Started) -> None:
    """Keys that everybody knows must not run commands."""
    assert playground.ready["api_key"].startswith("nk_live_" if runs_commands(playground) else "nk_test_")
    assert ("playground" in playground.ready["api_key"]) is not runs_commands(playground)


def runs_commands(playground: Started) -> bool:
    """Say whether commands really run, and the page is therefore locked."""
    return playground.runs_commands


def enter(playground: Started, client: httpx.Client, **content: object) -> httpx.Response:
    """Ask for the page's keys."""
    return client.post(f"{playground.ready['base_url']}/_dev/page", json={"proof": "0" * 32, **content})


@pytest.fixture
def browser() -> Iterator[httpx.Client]:
    """What keeps cookies."""
    with httpx.Client(trust_env=False, timeout=PATIENCE_SECONDS) as client:
        yield client


def test_the_document_has_keys_only_where_nothing_runs(playground: Started) -> None:
    """Where commands run it is a shell, the same for everybody, and no query opens it."""
    pages = [playground.client.get(path) for path in ("/", "/?token=x", "/?code=x", playground.ready["page_url"])]

    assert {page.status_code for page in pages} == {200}
    assert len({page.text for page in pages}) == 1
    assert (playground.ready["api_key"] in pages[0].text) is not runs_commands(playground)


def test_the_pages_address_works_once(tmp_path: Path, browser: httpx.Client) -> None:
    """Its code is exchanged for a cookie that no script reads; whoever has it later has nothing."""
    started = Started(tmp_path, "--driver", "process")
    address, _, fragment = started.ready["page_url"].partition("#")
    code = fragment.removeprefix("code=")
    unknown = enter(started, browser, code="x" + code[1:])
    first = enter(started, browser, code=code)
    cookie = first.headers["set-cookie"]
    again = enter(started, browser)
    with httpx.Client(trust_env=False, timeout=PATIENCE_SECONDS) as other:
        second = enter(started, other, code=code)
        without = enter(started, other)
        other.cookies.update(browser.cookies)
        other_origin = enter(started, other, proof="1" * 32)
    started.client.close()
    started.end(signal.SIGTERM)

    assert address == f"{started.ready['base_url']}/"
    assert (unknown.status_code, second.status_code, without.status_code) == (403, 403, 403)
    assert first.json() == again.json()
    assert first.json()["human"] == started.ready["api_key"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/_dev/page"} < set(cookie.split("; "))
    assert other_origin.status_code == 403
    assert started.ready["api_key"] not in unknown.text + second.text + without.text + other_origin.text
    assert "has been used" in second.json()["message"]


def test_what_opens_the_page_is_in_nobodys_arguments(tmp_path: Path) -> None:
    """A browser is started with the name of a file that its user alone can read, and that leads to the page once."""
    arguments = tmp_path / "arguments.txt"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {arguments}.draft\nmv {arguments}.draft {arguments}\n')
    browser.chmod(0o755)
    started = Started(tmp_path, "--driver", "process", has_browser=True, env={"BROWSER": f"{browser} %s"})
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not arguments.exists():
        assert time.monotonic() < deadline, "no browser was started"
        time.sleep(0.02)
    [shown] = arguments.read_text().splitlines()
    file = Path(shown.removeprefix("file://"))
    modes = (stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(file.parent.stat().st_mode))
    [code] = set(re.findall("#code=([A-Za-z0-9_-]+)", file.read_text()))
    entered = enter(started, started.client, code=code)
    banner_code = started.ready["page_url"].partition("#code=")[2]
    started.client.close()
    started.end(signal.SIGTERM)

    assert modes == (0o600, 0o700)
    assert entered.json()["human"] == started.ready["api_key"]
    assert banner_code not in {"", code}
    assert not file.parent.exists()


def test_a_page_is_small(playground: Started) -> None:
    """All that the page loads is 72 kB at most, as it is sent."""
    static = resources.files("nodus_control.playground").joinpath("static")
    names = [file.name for file in static.iterdir() if file.name != "page.html"]
    sent = [playground.client.get(path) for path in (playground.ready["page_url"], *names)]

    assert {answer.status_code for answer in sent} == {200}
    assert sum(len(answer.content) for answer in sent) <= 72_000


@pytest.mark.parametrize("path", ["/page.html", "/guards.py", "/..%2Fguards.py", "/static/playground.js", "/none.js"])
def test_nothing_else_is_served(playground: Started, path: str) -> None:
    """The document with its marks unfilled, and what stands beside the folder, are nobody's."""
    assert playground.client.get(path).status_code == 404


def test_the_page_loads_nothing_from_elsewhere(playground: Started) -> None:
    """Page, script and style come from here, and the policy lets nothing else in."""
    page = playground.client.get(playground.ready["page_url"])
    static = resources.files("nodus_control.playground").joinpath("static")
    loaded = [playground.client.get(f"/{file.name}") for file in static.iterdir() if file.name != "page.html"]

    assert {answer.status_code for answer in loaded} == {200}
    assert {answer.headers["content-type"].split(";")[0] for answer in loaded} == {"text/css", "text/javascript"}
    assert all(not re.search("[a-z]+://", answer.text) for answer in [page, *loaded])
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "a b", "8.8.8.8"]
)
def test_a_foreign_host_is_refused(playground: Started, host: str) -> None:
    """A name that was pointed here reaches nothing."""
    for path in ("/", "/healthz", "/v1/jobs", "/_dev/state"):
        assert playground.client.get(path, headers={"Host": host}).status_code in {400, 421}


@pytest.mark.parametrize("origin", ["null", "https://evil.example", "http://127.0.0.1:1", "http://localhost"])
def test_a_foreign_origin_is_refused(playground: Started, origin: str) -> None:
    """Another site's script gets no answer, and no leave to read one."""
    answer = playground.client.get("/healthz", headers={"Origin": origin})
    preflight = playground.client.options("/v1/jobs", headers={"Origin": origin})

    assert (answer.status_code, answer.json()["error"]) == (403, "origin_not_allowed")
    assert preflight.status_code == 403
    assert not [name for name in (*answer.headers, *preflight.headers) if name.startswith("access-control")]


def test_the_page_may_call_its_own_server(playground: Started) -> None:
    """Its origin is this server's."""
    headers = {"Origin": playground.ready["base_url"]}

    assert playground.client.get("/healthz", headers=headers).status_code == 200


def test_controls_need_a_key_where_commands_run(playground: Started) -> None:
    """Whoever can reach the port is not yet the user."""
    headers = {"Authorization": f"Bearer {playground.ready['api_key']}"}

    assert playground.client.get("/_dev/state").status_code == (401 if runs_commands(playground) else 200)
    assert playground.client.get("/_dev/state", headers=headers).status_code == 200


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(tmp_path: Path, how: signal.Signals) -> None:
    """Exit status 0, no traceback, with a connection open and a stream under way."""
    started = Started(tmp_path, "--driver", "process")
    headers = {"Authorization": f"Bearer {started.ready['api_key']}"}
    spec = {"image": "x", "gpu": "l40s", "command": [sys.executable, "-c", "import time; print(1); time.sleep(600)"]}
    job = started.client.post("/v1/jobs", json=spec, headers=headers).json()
    with started.client.stream("GET", f"/v1/jobs/{job['id']}/logs?follow=true", headers=headers) as stream:
        status = started.end(how)
        assert stream.status_code == 200
    started.client.close()

    assert status == 0
    assert "Traceback" not in started.output.read_text()


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--host", "0.0.0.0"], 3, "loopback only"),
        (["--host", "::"], 3, "loopback only"),
        (["--host", "example.com"], 3, "loopback only"),
        (["--db", "mysql://localhost/x"], 3, "no support for mysql"),
        (["--db", "postgresql://127.0.0.1:1/x"], 3, "cannot open the database postgresql+psycopg://127.0.0.1:1/x: "),
        (["--db", "nonsense"], 3, "sqlite:///nodus.db"),
        (["--db", "sqlite:////nonexistent/x/nodus.db"], 3, "cannot open"),
        (["--speed", "0"], 2, "positive number"),
        (["--speed", "fast"], 2, "positive number"),
        (["--driver", "process", "--speed", "60"], 2, "real time"),
        (["--port", "65536"], 2, "65535"),
    ],
)
def test_what_it_cannot_start_with_is_said_in_a_line(options: list[str], status: int, message: str) -> None:
    """An exit status that scripts can tell apart, and no traceback."""
    ended = forked.run("playground", "--no-browser", *options)

    assert ended.returncode == status
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("driver", ["simulated", "process"])
def test_a_restart_shuts_no_client_out(tmp_path: Path, driver: str) -> None:
    """With a database that lasts the keys last too; the file beside it is its owner's alone."""
    options = ["--driver", driver, "--db", f"sqlite:///{tmp_path / 'nodus.db'}"]
    seen = []
    for _ in range(2):
        started = Started(tmp_path, *options)
        started.client.close()
        started.end(signal.SIGTERM)
        seen.append({name: started.ready[name] for name in started.ready if "key" in name or "secret" in name})
        started.ready_file.unlink()
    modes = [stat.S_IMODE(file.stat().st_mode) for file in tmp_path.glob("*.playground.json")]

    assert seen[0] == seen[1]
    assert modes == ([0o600] if driver == "process" else [])


def test_keys_that_others_can_read_are_not_used(tmp_path: Path) -> None:
    """Exit status 3, in a line that says what to do."""
    options = ["--driver", "process", "--db", f"sqlite:///{tmp_path / 'nodus.db'}"]
    started = Started(tmp_path, *options)
    started.client.close()
    started.end(signal.SIGTERM)
    (tmp_path / "nodus.db.playground.json").chmod(0o644)
    ended = forked.run("playground", "--no-browser", "--port", "0", *options)

    assert ended.returncode == 3
    assert "nodus.db.playground.json" in ended.stderr
    assert started.ready["api_key"] not in ended.stderr


def test_another_key_than_the_databases_is_noticed(tmp_path: Path) -> None:
    """Before a job is accepted whose secrets nobody could open."""
    database = f"sqlite:///{tmp_path / 'nodus.db'}"
    first = Started(tmp_path, "--db", database)
    first.client.close()
    first.end(signal.SIGINT)
    ended = forked.run(
        "playground",
        "--no-browser",
        "--port",
        "0",
        "--db",
        database,
        env={**os.environ, "NODUS_KEY_ENCRYPTION_KEY": "00" * 32},
    )

    assert ended.returncode == 3
    assert "NODUS_KEY_ENCRYPTION_KEY" in ended.stderr


def test_operator_commands_name_both_ways_to_a_database() -> None:
    """Without a database the command exits with status 3, and says both."""
    for command in ("serve", "worker"):
        ended = forked.run(
            "control",
            command,
            *SIMULATIONS,
            env={name: value for name, value in os.environ.items() if name != "NODUS_DATABASE_URL"},
        )
        assert ended.returncode == 3
        assert "--db" in ended.stderr
        assert "NODUS_DATABASE_URL" in ended.stderr


@pytest.mark.parametrize("command", ["serve", "worker"])
@pytest.mark.parametrize(
    ("options", "status"),
    [([], 3), (["--driver", "simulated"], 2), (["--suppliers", "missing.toml"], 3)],
)
def test_operator_commands_have_no_default_suppliers(
    command: str, options: list[str], status: int, tmp_path: Path
) -> None:
    """Nobody hosts simulations without having said so; where to begin is said, and nothing is made."""
    ended = forked.run(
        "control", command, *options, env={**os.environ, "NODUS_DATABASE_URL": f"sqlite:///{tmp_path / 'nodus.db'}"}
    )

    assert ended.returncode == status
    assert ("missing.toml" if "missing.toml" in options else "nodus-control suppliers init") in ended.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.evil.example", False),
        ("2130706433", False),
        ("", False),
    ],
)
def test_loopback_is_recognised_without_a_lookup(host: str, expected: bool) -> None:
    """Names are not resolved: what a resolver says can change."""
    assert is_loopback(host) is expected


def test_a_host_can_be_allowed() -> None:
    """A proxy may call the playground by a name of its own."""
    guard = Guard(frozenset({"nodus.test"}))

    assert guard.admits_host("nodus.test:8787")
    assert guard.admits_host("Nodus.Test.")
    assert not guard.admits_host("other.test:8787")
    assert guard.admits_origin("http://nodus.test:8787", "nodus.test:8787")
