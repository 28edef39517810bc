"""A real Chromium, a playground of its own, and a page that may talk to nobody else.

Where there is no browser the tests are skipped, by name; with `CI=true`, which installs one, they fail.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from patience import PATIENCE_SECONDS, eventually

pytest.importorskip("playwright", reason="the browser's tests need the dependency group `browser`")

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Route,
    TimeoutError,
    expect,
    sync_playwright,
)
from servers.process import free_port
from servers.programs import browser_program

SCREENS = Path(__file__).resolve().parents[3] / "artifacts" / "playground"
PATIENCE_MS = PATIENCE_SECONDS * 1000
SWITCHES = [
    "--no-sandbox",  # as root, Chromium starts in no other way
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HAS_ASKED = "performance.getEntriesByName(`${location.origin}/v1/jobs?limit=1`).length > 0"
ASKED = """({
  link: document.getElementById("link").textContent,
  visibility: document.visibilityState,
  now: performance.now(),
  asked: performance.getEntriesByType("resource").map(
    ({ name, startTime, responseEnd, responseStatus }) => [name, startTime, responseEnd, responseStatus]
  ),
})"""
# The page gives up on who does not answer in ten seconds, which a busy machine may need, and asks again: it has to do
# so while a test still waits.
PATIENT = """{
  const timeout = AbortSignal.timeout.bind(AbortSignal);
  AbortSignal.timeout = (ms) => timeout(4 * ms);
}"""
_NOT_MADE_BY_THE_PAGE = re.compile("Failed to load resource|ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY")


class Playground:
    """The command itself, in a process that can be stopped and started again on the same port."""

    def __init__(self, directory: Path, *options: str) -> None:
        self._directory = directory
        self._options = options
        self._port = free_port()
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        ready_file = self._directory / "ready.json"
        ready_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "nodus_control.playground", "--port", str(self._port), "--no-browser"]
        with (self._directory / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(
                [*command, "--ready-file", str(ready_file), *self._options], stdout=output, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not ready_file.exists():
            assert self._process.poll() is None, (self._directory / "output.txt").read_text()
            assert time.monotonic() < deadline, "it never became ready"
            time.sleep(0.02)
        self.ready: dict[str, str] = json.loads(ready_file.read_text())

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(PATIENCE_SECONDS)

    def __enter__(self) -> Playground:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.stop()

    @property
    def base_url(self) -> str:
        """Where it answers."""
        return self.ready["base_url"]

    @property
    def page_url(self) -> str:
        """Where its page is."""
        return self.ready["page_url"]

    def call(self, method: str, path: str, content: object = None) -> Any:
        """Call the API with the person's key; return the answer's JSON."""
        headers = {"Authorization": f"Bearer {self.ready['api_key']}"}
        answer = httpx.request(
            method, self.base_url + path, json=content, headers=headers, trust_env=False, timeout=PATIENCE_SECONDS
        )
        assert answer.is_success, answer.text
        return answer.json()

    def state(self) -> Any:
        """Return what it says of itself, or why it does not."""
        try:
            return self.call("GET", "/_dev/state")
        except (AssertionError, httpx.HTTPError) as exc:
            return repr(exc)

    def pause(self) -> None:
        """Let the clock stand, so that a test says when things happen."""
        self.call("POST", "/_dev/clock", {"paused": True, "speed": 60})

    def advance(self, seconds: float) -> None:
        """Move the clock; what falls due is done when this returns."""
        self.call("POST", "/_dev/clock/advance", {"seconds": seconds})

    def outage(self, *suppliers: str, on: bool = True) -> None:
        """Begin or end outages."""
        for name in suppliers:
            self.call("POST", f"/_dev/suppliers/{name}/outage", {"on": on})

    def history(self, job_id: str) -> list[str]:
        """Return the states that a terminal job went through, as its own event stream has them."""
        headers = {"Authorization": f"Bearer {self.ready['api_key']}"}
        text = httpx.get(
            f"{self.base_url}/v1/jobs/{job_id}/events", headers=headers, trust_env=False, timeout=PATIENCE_SECONDS
        ).text
        return [json.loads(line[6:])["status"] for line in text.split("\n") if line.startswith("data: ")]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The system's browser."""
    program = browser_program()
    if program is None:
        reason = (
            "no Chromium here: install it (on Debian: apt-get install chromium), or run tools/dev.py with --install"
        )
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=SWITCHES, timeout=PATIENCE_MS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playground]:
    """One playground for all tests that need none of their own."""
    with Playground(tmp_path_factory.mktemp("playground")) as playground:
        yield playground


@pytest.fixture
def playground(started: Playground) -> Playground:
    """That playground, emptied, its clock standing."""
    started.pause()
    started.call("POST", "/_dev/reset", {"seed": 0})
    return started


Open = Callable[..., Page]


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Open]:
    """Opens pages that may reach one address alone; whatever else they ask for, or log as an error, fails the test."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not _NOT_MADE_BY_THE_PAGE.search(message.text):
            faults.append(message.text)

    def refuse(route: Route) -> None:
        faults.append(f"asked for {route.request.url}")
        route.abort()

    def open_one(
        playground: Playground, url: str = "", *, beside: Page | None = None, script: str = "", **options: Any
    ) -> Page:
        if beside is None:
            context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
            context.set_default_timeout(PATIENCE_MS)
            contexts.append(context)
            own = re.escape(playground.base_url)
            context.route(re.compile(f"^(?!{own}/|data:|blob:)"), refuse)
        else:
            context = beside.context
        page = context.new_page()
        page.add_init_script(PATIENT + script)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", note)
        page.goto(url or playground.page_url)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture
def page(open_page: Open, playground: Playground) -> Page:
    """The playground's page, connected."""
    page = open_page(playground)
    try:
        page.get_by_text("Live", exact=True).wait_for()
    except TimeoutError:
        pytest.fail(f"the page never became live: {page.evaluate(ASKED)}; the server says {playground.state()}")
    # By then it may have to ask yet which job it is to show; what a test selects before that is written over.
    # (Playwright's own wait for an expression is forbidden by the page's policy, but for its first look.)
    eventually(lambda: bool(page.evaluate(HAS_ASKED)), lambda: "it never asked for the newest job")
    page.evaluate("() => new Promise(done => requestIdleCallback(done))")
    return page
