"""What the page shows after a reload, in a second tab, after a restart, and from a link: the truth, once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser.conftest import Open, Playground
from browser.reading import card, expect_status, run_job, told
from playwright.sync_api import Page, expect

SPEC = {"image": "ghcr.io/acme/train:v3", "gpu": "h100_80gb", "max_runtime_seconds": 1200}

# What a page sees of a control plane that answers no call in its first second.
UNREACHABLE_AT_FIRST = """
const reached = fetch;
const failed = () => Promise.reject(new TypeError("Failed to fetch"));
window.fetch = (...asked) => (performance.now() < 1000 ? failed() : reached(...asked));
"""

# One that takes calls and answers none as long as `isHung`; the page's patience with it is short.
HUNG = """
const reached = fetch;
const patience = AbortSignal.timeout.bind(AbortSignal);
AbortSignal.timeout = (ms) => patience(window.isHung ? 300 : ms);
window.fetch = (path, more) => window.isHung
  ? new Promise((_, reject) => more.signal?.addEventListener("abort", () => reject(more.signal.reason)))
  : reached(path, more);
"""

# What counts is written again every 200 ms: by the first look that has been done since nobody answers.
SEEN_TWICE = """async () => {
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const counting = () => [document.querySelector("#now"), document.querySelectorAll("#card dd")[4]];
  const seen = () => counting().map((each) => each.textContent);
  await pause(500);
  const before = seen();
  await pause(1000);
  return [before, seen()];
}"""

# A network that loses calls, answers and the ends of streams, until `isBad` is false.
BAD_NETWORK = """
const reached = fetch;
let seed = 1;
window.isBad = true;
const isLost = (share) => (seed = (seed * 48271) % 2147483647) < share * 2147483647 && window.isBad;
const loss = () => new TypeError("Failed to fetch");
window.fetch = async (...asked) => {
  if (isLost(0.3)) throw loss();
  const answer = await reached(...asked);
  if (isLost(0.2)) throw loss();
  const transform = (chunk, stream) => (isLost(0.3) ? stream.error(loss()) : stream.enqueue(chunk));
  return new Response(answer.body.pipeThrough(new TransformStream({ transform })), answer);
};
"""


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Playground]:
    """A playground whose state outlives it."""
    with Playground(tmp_path, "--db", f"sqlite:///{tmp_path / 'nodus.db'}") as playground:
        playground.pause()
        yield playground


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[Playground]:
    """A playground whose state is lost when it ends."""
    with Playground(tmp_path) as playground:
        yield playground


@pytest.fixture
def running_commands(tmp_path: Path) -> Iterator[Playground]:
    """A playground that really runs commands."""
    with Playground(tmp_path, "--driver", "process") as playground:
        yield playground


def connected(page: Page) -> None:
    """Wait until it is."""
    expect(page.locator("#link")).to_have_text("Live")


def shown_jobs(page: Page) -> dict[str, str]:
    """Return the state of each recent job, by id."""
    rows = page.locator("#jobs tr")
    ids = rows.locator("button").evaluate_all("buttons => buttons.map(each => each.title)")
    return dict(zip(ids, rows.locator("td:nth-child(2)").all_inner_texts(), strict=True))


def expect_truth(page: Page, playground: Playground, job_id: str) -> None:
    """Hold a page to what the control plane says: of one terminal job every state, of all jobs the last one."""
    jobs = {job["id"]: job["status"] for job in playground.call("GET", "/v1/jobs")["jobs"]}
    expect(page.locator("#jobs tr")).to_have_count(len(jobs))
    for each, status in jobs.items():
        row = page.locator("#jobs tr", has=page.locator(f"button[title='{each}']"))
        expect(row).to_contain_text(status)
    ledger = playground.call("GET", "/v1/ledger/checkpoint")
    expect(page.locator("#rows")).to_have_text(f"{ledger['size']} rows")
    page.locator(f"button[title='{job_id}']").click()
    expect_status(page, jobs[job_id])
    expect(page.locator("#timeline")).to_contain_text("Settled")
    rows = [int(text[1:]) for text in page.locator("#timeline small").all_inner_texts()]
    states = {"Queued", "Back in the queue", "Placed", "Running", "Completed"}
    transitions = [
        "queued" if "ueue" in title else title.lower() for title in told(page).all_inner_texts() if title in states
    ]

    assert shown_jobs(page) == jobs
    assert rows == sorted(set(rows))
    assert transitions == playground.history(job_id)


def test_reload_second_tab_and_restart_end_with_the_truth(open_page: Open, kept: Playground) -> None:
    """Whatever happened while nobody looked: no transition twice, none missing, in both tabs."""
    first = open_page(kept)
    connected(first)
    job_id = run_job(first)
    kept.advance(60)
    expect_status(first, "running")
    kept.outage("hyperbolic")
    expect(first.locator("#card dd").nth(2)).to_have_text("vast")
    first.reload()
    connected(first)
    expect(first.locator("#card dd").first).to_have_text(job_id)
    second = open_page(kept, first.url, beside=first)
    connected(second)
    kept.stop()
    for page in (first, second):
        expect(page.locator("#link")).to_have_text("Disconnected")
        expect(page.locator("#away")).to_contain_text("does not answer")
    kept.start()
    kept.pause()
    kept.call("POST", "/v1/jobs", SPEC)
    kept.advance(4 * 3600)
    for page in (first, second):
        connected(page)
        expect(page.locator("#away")).to_be_hidden()
        expect(page.locator("#card dd").first).to_have_text(job_id)
        expect_truth(page, kept, job_id)


def test_a_page_opened_while_nobody_answers_ends_with_its_job(open_page: Open, kept: Playground) -> None:
    """What the address names is asked for again: a control plane that was away a moment is not one without the job."""
    first = open_page(kept)
    connected(first)
    job_id = run_job(first)
    kept.advance(4 * 3600)
    late = open_page(kept, first.url, beside=first, script=UNREACHABLE_AT_FIRST)
    expect(late.locator("#card dd").first).to_have_text(job_id)
    expect_truth(late, kept, job_id)


def test_a_bad_network_ends_with_the_truth(open_page: Open, kept: Playground) -> None:
    """Calls, answers and streams are lost at random while a job fails over and others come and go."""
    submitted = [kept.call("POST", "/v1/jobs", SPEC)["id"]]
    page = open_page(kept, script=BAD_NETWORK)
    for supplier in ("hyperbolic", "vast", "crusoe", "lambda"):
        submitted.append(kept.call("POST", "/v1/jobs", SPEC)["id"])
        kept.advance(60)
        page.wait_for_timeout(400)
        kept.outage(supplier)
        page.wait_for_timeout(400)
    kept.advance(4 * 3600)
    page.evaluate("window.isBad = false")
    connected(page)
    expect(page.locator("#card dd").first).not_to_have_text("–")
    for job_id in submitted:
        expect_truth(page, kept, job_id)


def test_nothing_fails_in_silence(open_page: Open, forgetful: Playground) -> None:
    """Without a control plane every button says so, no offer is lost, and what was not submitted is not in doubt."""
    page = open_page(forgetful, forgetful.page_url + '#spec={"image":"a:1"}&seed=1&job=gone')
    notice = page.locator("#notice")
    expect(notice).to_contain_text("carries a run")
    page.route("**/_dev/draft", lambda route: route.abort())
    page.get_by_role("button", name="Run job").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was submitted")
    forgetful.stop()
    expect(page.locator("#away")).to_contain_text("does not answer")
    expect(notice).to_contain_text("carries a run")
    page.get_by_role("button", name="a short job").click()
    expect(page.get_by_role("button", name="Run job")).to_be_disabled()
    page.get_by_role("button", name="Verify").click()
    expect(page.locator("#report")).to_contain_text("did not answer")
    for name in ("Pause", "Skip one hour", "Register the inbox", "Tamper"):
        page.get_by_role("button", name="Dismiss").click()
        page.get_by_role("button", name=name, exact=True).click()
        expect(notice).to_contain_text("did not answer")


def test_who_does_not_answer_is_not_there(open_page: Open, playground: Playground) -> None:
    """A control plane that takes requests and answers none is lost, and found again."""
    page = open_page(playground, script=HUNG)
    connected(page)
    page.evaluate("window.isHung = true")
    expect(page.locator("#link")).to_have_text("Disconnected")
    page.evaluate("window.isHung = false")
    connected(page)
    job_id = run_job(page)
    playground.advance(7200)
    expect_truth(page, playground, job_id)


def test_nothing_counts_on_while_nobody_answers(open_page: Open, forgetful: Playground) -> None:
    """Neither the clock nor the run's duration: what is not heard of is not known."""
    page = open_page(forgetful)
    connected(page)
    page.get_by_label("max_runtime_seconds").fill("172800")
    run_job(page)
    expect_status(page, "running")
    forgetful.stop()
    expect(page.locator("#link")).to_have_text("Disconnected")
    before, after = page.evaluate(SEEN_TWICE)

    assert before == after
    assert page.evaluate("getComputedStyle(document.querySelector('#track .here'), '::before').animationName") == "none"
    expect(page.get_by_role("button", name="Run job")).to_be_disabled()


def test_the_address_is_the_run_that_is_shown(page: Page, playground: Playground) -> None:
    """Chosen from the list, pasted into the address bar, or jumped away from: a reload shows it again."""
    ids = [playground.call("POST", "/v1/jobs", SPEC)["id"] for _ in range(3)]
    shown = page.locator("#card dd").first
    page.locator(f"button[title='{ids[1]}']").click()
    page.reload()
    expect(shown).to_have_text(ids[1])
    page.evaluate("id => (location.hash = `job=${id}`)", ids[0])
    expect(shown).to_have_text(ids[0])
    page.get_by_role("link", name="Skip to the job").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#spec")).to_be_focused()
    page.get_by_label("image").fill("other:1")
    expect(page.locator("#snippet")).to_contain_text("other:1")
    page.reload()
    expect(shown).to_have_text(ids[0])

    expect(page.get_by_label("image")).to_have_value("other:1")
    expect(page.get_by_role("button", name="Copy link")).to_be_hidden()


def test_a_memory_that_is_gone_is_told_of(open_page: Open, forgetful: Playground) -> None:
    """Started again without a database, the playground is another: so the page says, and shows that one."""
    page = open_page(forgetful)
    connected(page)
    run_job(page)
    forgetful.stop()
    expect(page.locator("#link")).to_have_text("Disconnected")
    forgetful.start()
    connected(page)
    expect(page.locator("#notice")).to_contain_text("began anew")
    expect(page.locator("#no-jobs")).to_be_visible()

    assert set(card(page).values()) == {"–"}
    forgetful.pause()
    run_job(page)
    expect_status(page, "placed")


def test_many_jobs_from_elsewhere_appear(page: Page, playground: Playground) -> None:
    """Submitted by another client, faster than the page could draw each."""
    ids = {playground.call("POST", "/v1/jobs", SPEC)["id"] for _ in range(30)}
    playground.advance(3600)
    expect(page.locator("#jobs .is-completed")).to_have_count(30)

    assert shown_jobs(page) == dict.fromkeys(ids, "completed")


def test_a_link_repeats_a_run(page: Page, playground: Playground, open_page: Open) -> None:
    """In a playground that starts over, the same job goes the same way: nothing is lost before the user says so."""
    playground.call("POST", "/v1/jobs", SPEC)
    page.get_by_label("env").fill('NOTE="two\\nlines"')
    run_job(page)
    playground.advance(7200)
    expect_status(page, "completed")
    link, first = page.url, card(page)
    page.get_by_role("button", name="Start over…").click()
    page.get_by_role("button", name="Keep everything").click()
    assert len(playground.call("GET", "/v1/jobs")["jobs"]) == 2
    page.get_by_role("button", name="Start over…").click()
    page.get_by_role("dialog").get_by_role("button", name="Start over").click()
    expect(page.locator("#no-jobs")).to_be_visible()
    again = open_page(playground, link)
    expect(again.locator("#notice")).to_contain_text("its seed is 0, after 1 other job")
    expect(again.get_by_label("env")).to_have_value('NOTE="two\\nlines"')
    assert playground.call("GET", "/v1/jobs")["jobs"] == []
    again.get_by_role("button", name="Start over and run it…").click()
    again.get_by_role("dialog").get_by_role("button", name="Start over").click()
    expect_status(again, "placed")
    playground.advance(7200)
    expect_status(again, "completed")
    second = card(again)

    assert first.pop("id")[-20:] == second.pop("id")[-20:]
    assert first == second


def test_a_link_is_no_way_in(open_page: Open, playground: Playground) -> None:
    """Whatever it carries is text, and runs nothing by itself."""
    spec = '{"image":"<img src=x onerror=alert(1)>","command":5,"env":[],"require_tiers":"x","gpu_count":{}}'
    page = open_page(playground, f"{playground.page_url}#spec={spec}&seed=<b>&passed_over=x&job=../../healthz")
    connected(page)
    expect(page.get_by_label("image")).to_have_value("<img src=x onerror=alert(1)>")

    assert playground.call("GET", "/v1/jobs")["jobs"] == []


def test_the_pages_code_stays_nowhere(open_page: Open, running_commands: Playground) -> None:
    """It goes from the address at once, no link carries it, a reload needs it no more, and nobody else enters by it."""
    page = open_page(running_commands, permissions=["clipboard-read", "clipboard-write"])
    connected(page)
    at_first = page.url
    page.get_by_label("command").fill("true")
    run_job(page)
    expect_status(page, "completed")
    kept = page.evaluate("JSON.stringify([location.href, {...localStorage}, {...sessionStorage}, document.cookie])")
    page.reload()
    connected(page)
    other = open_page(running_commands)
    expect(other.locator("#link")).to_have_text("Locked")
    expect(other.locator("#away")).to_contain_text("has been used")
    bare = open_page(running_commands, running_commands.base_url)
    expect(bare.locator("#away")).to_contain_text("by the address that the playground printed")
    beside = open_page(running_commands, running_commands.base_url, beside=page)
    connected(beside)
    code = running_commands.page_url.partition("#code=")[2]

    assert len(code) >= 32
    assert "code" not in at_first
    assert code not in kept
    assert running_commands.ready["api_key"] not in kept
    assert not other.locator("main").is_visible()
    assert running_commands.ready["api_key"] not in other.content() + bare.content()


def test_commands_really_run_where_the_driver_says_so(open_page: Open, running_commands: Playground) -> None:
    """The page opens by its token, says so, has no clock to turn, and notices when its keys are old."""
    page = open_page(running_commands)
    connected(page)
    page.get_by_label("command").fill(f"{sys.executable} -c 'print(1)'")
    run_job(page)
    expect_status(page, "completed")
    expect(page.get_by_role("button", name="Pause")).to_be_hidden()

    assert "Commands run on this machine" in page.locator("#about").inner_text()
    assert "–" not in card(page).values()
    running_commands.stop()
    running_commands.start()
    expect(page.locator("#link")).to_have_text("Other keys")
