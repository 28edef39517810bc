"""The page at work: a job runs, fails over, lands in the ledger; budget, webhooks, clock."""

from __future__ import annotations

import itertools

from browser.conftest import Open, Playground
from browser.reading import FIELDS, card, checks, expect_status, run_job, told, verdicts
from playwright.sync_api import Locator, Page, expect

ALL = ["aws", "gcp", "azure", "oci", "coreweave", "lambda", "crusoe", "runpod", "vast", "hyperbolic"]


_NOTE_TEXTS = """(element) => { window.texts = [];
  new MutationObserver(() => window.texts.push(element.textContent)).observe(element, { childList: true }); }"""


def click_twice(button: Locator) -> None:
    """Click a button twice before anything can have come of the first click."""
    button.evaluate("button => { button.click(); button.click(); }")


# Answers come late, as on a slow line.
SLOW = """const reached = fetch;
window.fetch = async (...asked) => {
  await new Promise((resolve) => setTimeout(resolve, 400));
  return reached(...asked);
};"""


def test_one_click_and_a_job_runs_to_its_end(page: Page, playground: Playground) -> None:
    """No key typed, nothing filled in: queued, placed, running, completed, and all eight fields."""
    assert card(page).keys() == set(FIELDS)
    page.locator("#card dd").nth(1).evaluate(_NOTE_TEXTS)
    job_id = run_job(page)
    expect_status(page, "placed")
    playground.advance(60)
    expect_status(page, "running")
    expect(page.locator("#track .here")).to_have_text("running")
    playground.advance(3600)
    expect_status(page, "completed")
    expect(told(page)).to_have_text(
        ["Queued", "Attempt 1: hyperbolic, default", "Placed", "Running", "Completed", "Settled"]
    )

    assert playground.history(job_id) == ["queued", "placed", "running", "completed"]
    assert page.evaluate("window.texts") == playground.history(job_id)
    assert "–" not in card(page).values()
    assert page.locator("#track .on").count() == 4


def test_an_outage_while_a_job_runs_is_seen_whole(page: Page, playground: Playground) -> None:
    """The loss, the exclusion, the new placement; and the ledger shows the attempt."""
    job_id = run_job(page)
    playground.advance(60)
    expect_status(page, "running")
    page.get_by_role("switch", name="Simulate a supplier outage: hyperbolic").click()
    expect(page.locator("#card dd").nth(2)).to_have_text("vast")
    expect(page.locator("#suppliers .chosen th")).to_contain_text("vast")
    before = ["Queued", "Attempt 1: hyperbolic, default", "Placed", "Running"]
    expect(told(page)).to_have_text(
        [*before, "Lost in an outage", "Back in the queue", "Attempt 2: vast, asia", "Placed"]
    )

    assert verdicts(page)["hyperbolic"] == "out"
    expect(page.locator("#entries")).to_contain_text("Lost in an outage")
    playground.advance(3600)
    expect_status(page, "completed")
    assert playground.call("GET", f"/v1/jobs/{job_id}")["attempts"] == 2


def test_the_route_says_why_of_everyone(page: Page, playground: Playground) -> None:
    """Price, score and reason of ten suppliers, for the job in the form, as it is written."""
    page.get_by_label("neocloud").check()
    playground.outage("vast")
    expect(page.locator("#suppliers tr").nth(1).locator(".why b")).to_have_text("out")
    page.get_by_role("combobox", name="gpu", exact=True).select_option("a100_40gb")
    expect(page.locator("#suppliers .chosen th")).to_contain_text("runpod")
    seen = verdicts(page)

    assert len(seen) == 10
    assert seen["runpod"] == "would be chosen: CA-MTL-1"
    assert seen["vast"] == "out"
    assert seen["hyperbolic"] == "does not offer this GPU"
    assert seen["aws"] == "not in the required tiers"
    assert page.locator("#suppliers tr", has_text="aws").locator(".num").all_inner_texts() == ["$2.74", "0.328"]


def test_nobody_left_is_explained(page: Page, playground: Playground) -> None:
    """503 `no_supplier`: who is out, that nothing was kept, and a way on."""
    playground.outage(*ALL)
    expect(page.locator("#suppliers .rejected")).to_have_count(10)
    page.get_by_role("button", name="Run job").click()
    refusal = page.get_by_role("alert")
    expect(refusal).to_contain_text("503 no_supplier")

    assert all(name in refusal.inner_text() for name in ALL)
    assert playground.call("GET", "/v1/jobs")["jobs"] == []
    refusal.get_by_role("button", name="End hyperbolic’s outage").click()
    expect(page.locator("#suppliers .chosen")).to_have_count(1)
    run_job(page)
    expect(refusal).to_be_hidden()


def test_a_refusal_is_shown_beside_no_other_job(page: Page) -> None:
    """Neither its states nor its buttons: nothing was submitted; and the refusal goes once a job is looked at."""
    first = run_job(page)
    page.get_by_label("submit as").select_option("agent")
    page.get_by_label("gpu_count").fill("8")
    page.get_by_label("max_runtime_seconds").fill("36000")
    page.get_by_role("button", name="Run job").click()
    refusal = page.get_by_role("alert")
    expect(refusal).to_contain_text("402 budget_exceeded")

    assert set(card(page).values()) == {"–"}
    expect(page.locator("#track .on")).to_have_count(0)
    expect(page.get_by_role("button", name="Cancel job")).to_be_hidden()
    page.locator(f"button[title='{first}']").click()
    expect(page.locator("#card dd").first).to_have_text(first)
    expect(refusal).to_be_hidden()


def test_one_click_takes_the_running_supplier_down(page: Page, playground: Playground) -> None:
    """In view beside the run; what is out stands at the top, and a click there ends it."""
    run_job(page)
    playground.advance(60)
    expect_status(page, "running")
    down = page.get_by_role("button", name="Take hyperbolic down")
    expect(down).to_be_in_viewport()
    down.click()
    expect(page.locator("#card dd").nth(2)).to_have_text("vast")
    expect(page.get_by_role("button", name="Take vast down")).to_be_visible()
    chip = page.locator("#outs")
    expect(chip).to_contain_text("1 supplier out")
    playground.outage("azure")
    expect(chip).to_contain_text("2 suppliers out")
    chip.click()
    expect(chip).to_be_hidden()

    assert [each for each in playground.call("GET", "/_dev/state")["suppliers"] if each["outage"]] == []
    playground.advance(7200)
    expect_status(page, "completed")
    expect(page.locator("#down")).to_be_hidden()


def test_times_and_kinds_are_said_as_people_say_them(page: Page) -> None:
    """Beside the field's own units; the simulation is named where its clock, and where its job, is."""
    expect(page.locator("#e-max_runtime_seconds")).to_have_text("1 h")
    page.get_by_label("max_runtime_seconds").fill("1200")
    expect(page.locator("#e-max_runtime_seconds")).to_have_text("20 min")
    expect(page.get_by_text("simulated time")).to_be_visible()
    run_job(page)
    expect(page.locator("#whose")).to_contain_text("simulated")


def test_the_ledger_says_that_it_is_paused_after_tampering(page: Page, playground: Playground) -> None:
    """What lands meanwhile is counted, and all of it is there once the row is put back."""
    run_job(page)
    expect_status(page, "placed")
    page.get_by_role("button", name="Tamper").click()
    expect(page.locator("#paused")).to_contain_text("Paused at this tab’s altered copy")
    playground.advance(7200)
    expect_status(page, "completed")
    expect(page.locator("#paused")).to_contain_text("rows landed since")
    page.get_by_role("button", name="Put it back").click()
    expect(page.locator("#paused")).to_be_hidden()
    size = playground.call("GET", "/v1/ledger/checkpoint")["size"]
    expect(page.locator("#entries td").first).to_have_text(str(size))


def test_the_ledger_is_verified_here_and_tampering_found(page: Page, playground: Playground) -> None:
    """However cunning: each forgery fails where it must, in a copy that can be put back."""
    run_job(page)
    playground.advance(7200)
    expect_status(page, "completed")
    page.get_by_role("button", name="Verify").click()
    expect(page.locator("#report")).to_contain_text("are as they were written")
    whole = checks(page)
    found = {}
    for cunning in ("alone", "and its hash", "and all hashes after"):
        page.get_by_label("Tamper with a row").fill("4")
        page.get_by_label("How").select_option(label=cunning)
        page.get_by_role("button", name="Tamper").click()
        expect(page.locator("#report")).to_contain_text("you changed row 4: supplier from hyperbolic to forged")
        expect(page.locator("#entries .bad td").first).to_have_text("4")
        found[cunning] = [name for name, ok in checks(page).items() if not ok]
        page.get_by_role("button", name="Put it back").click()
        expect(page.locator("#report")).to_contain_text("are as they were written")

    assert whole == dict.fromkeys(["Leaf hashes", "Chain", "Contents", "Merkle root", "Signature", "Inclusion"], True)
    assert found == {
        "alone": ["Leaf hashes", "Merkle root", "Inclusion"],
        "and its hash": ["Chain", "Merkle root", "Inclusion"],
        "and all hashes after": ["Merkle root", "Inclusion"],
    }


def test_deliveries_are_shown_with_their_signature(page: Page, playground: Playground, open_page: Open) -> None:
    """One click registers the inbox, wherever it was made; each event arrives signed, and can be delivered again."""
    other = open_page(playground, beside=page)
    click_twice(other.get_by_role("button", name="Register the inbox"))
    expect(page.locator("#no-hooks")).to_contain_text("Registered")
    run_job(page)
    playground.advance(7200)
    delivered = page.locator("#deliveries li")
    expect(delivered).to_have_count(2)
    expect(delivered.first).to_contain_text("job.completed")
    expect(page.locator("#deliveries .good")).to_have_count(2)
    before = len(playground.call("GET", "/_dev/inbox")["deliveries"])
    page.get_by_role("button", name="Replay job.completed").click()
    expect(delivered.first).to_contain_text("2 attempts")

    assert len(playground.call("GET", "/_dev/inbox")["deliveries"]) == before + 1
    delivered.first.locator("summary").click()
    assert "Nodus-Signature: v1=" in delivered.first.locator("pre").inner_text()


def test_the_clock_is_the_users(page: Page, playground: Playground) -> None:
    """A user sets the clock's speed, pauses it, and skips an hour."""
    run_job(page)
    page.get_by_role("button", name="Skip one hour").click()
    expect_status(page, "completed")
    page.get_by_label("Speed").focus()
    playground.call("POST", "/_dev/clock", {"speed": 600})
    expect(page.get_by_label("Speed")).to_have_value("600")
    with page.expect_response("**/_dev/clock"):
        page.get_by_label("Speed").select_option("3600")
    with page.expect_response("**/_dev/clock"):
        page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    state = playground.call("GET", "/_dev/state")

    assert (state["speed"], state["paused"]) == (3600, False)


def test_days_are_told_as_such(page: Page, playground: Playground) -> None:
    """What happened is not counted from midnight, and a run that began a moment ago has lasted no less than nothing."""
    page.get_by_label("max_runtime_seconds").fill("172800")
    page.get_by_label("env").fill("NODUS_SIM_DURATION_SECONDS=170000")
    page.evaluate("""window.durations = new Set(); new MutationObserver(() =>
      durations.add(document.querySelectorAll("#card dd")[4].textContent)).observe(
      document.querySelector("#card"), { childList: true, subtree: true });""")
    run_job(page)
    playground.advance(172_000)
    expect_status(page, "completed")

    expect(page.locator("#timeline time").last).to_have_text("47 h 13 min")
    assert [seen for seen in page.evaluate("[...durations]") if "-" in seen] == []


def test_a_failure_says_why(page: Page, playground: Playground) -> None:
    """The program's own message, as text whatever it looks like."""
    page.get_by_label("env").fill("NODUS_SIM_ERROR=<img src=x onerror=alert(1)>")
    run_job(page)
    playground.advance(7200)
    expect_status(page, "failed")

    expect(page.locator("#timeline")).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.locator("#track .on").all_inner_texts() == ["queued", "placed", "running", "failed"]


def test_a_job_is_cancelled(page: Page) -> None:
    """A job that is not over yet can be cancelled on the page."""
    run_job(page)
    page.get_by_role("button", name="Cancel job").click()
    expect_status(page, "cancelled")

    expect(page.get_by_role("button", name="Cancel job")).to_be_hidden()


def test_the_same_key_gives_the_same_job(page: Page, playground: Playground) -> None:
    """And the page says that nothing ran twice."""
    page.get_by_label("idempotency_key").fill("mine")
    job_id = run_job(page)
    page.get_by_role("button", name="Run job").click()
    expect(page.get_by_role("alert")).to_contain_text("nothing ran twice")

    expect(page.locator("#card dd").first).to_have_text(job_id)
    assert len(playground.call("GET", "/v1/jobs")["jobs"]) == 1


def test_one_wish_is_one_job(page: Page, playground: Playground) -> None:
    """Pressed twice in a row, or again because no answer came: the same job, and the page says what it knows."""
    run = page.get_by_role("button", name="Run job")
    click_twice(run)
    expect_status(page, "placed")
    expect(run).to_be_enabled()
    assert len(playground.call("GET", "/v1/jobs")["jobs"]) == 1
    lost = {"match": {"method": "POST", "path": "/v1/jobs"}, "do": "truncate"}
    playground.call("POST", "/_dev/faults", lost)
    run.click()
    expect(page.get_by_role("alert")).to_contain_text("is not known")
    run.click()
    expect(page.get_by_role("alert")).to_contain_text("nothing ran twice")
    assert len(playground.call("GET", "/v1/jobs")["jobs"]) == 2
    page.route("**/_dev/runs/*", lambda route: route.abort())
    before = card(page)["id"]
    run.click()
    expect(page.locator("#card dd").first).not_to_have_text(before)

    expect(page.get_by_role("alert")).to_be_hidden()
    assert len(playground.call("GET", "/v1/jobs")["jobs"]) == 3


def test_what_is_done_before_the_first_answer_counts(open_page: Open, playground: Playground) -> None:
    """Nothing that was typed is written over, and no button that could be pressed fails."""
    page = open_page(playground, script=SLOW)
    page.get_by_label("image").fill("mine:1")
    expect(page.get_by_role("button", name="Go on")).to_be_enabled()
    expect(page.locator("#link")).to_have_text("Live")
    expect(page.get_by_label("image")).to_have_value("mine:1")
    page.get_by_label("gpu_count").fill("2")
    page.get_by_role("button", name="Run job").click()
    page.get_by_label("image").fill("next:1")
    expect_status(page, "placed")

    [job] = playground.call("GET", "/v1/jobs")["jobs"]
    assert (job["image"], job["gpu_count"]) == ("mine:1", 2)
    assert "mine" in page.url


def test_a_switch_is_where_it_was_put(page: Page, playground: Playground) -> None:
    """At once, however fast it is flipped, and so is the supplier in the end."""
    switch = page.get_by_role("switch", name="Simulate a supplier outage: vast")
    answers = itertools.count(1)
    with page.expect_response(lambda answer: answer.url.endswith("/vast/outage") and next(answers) == 7):
        for _ in range(3):
            switch.check()
            switch.uncheck()
        switch.check()
    expect(page.locator("#say")).to_have_text("vast is out")
    expect(page.locator("#suppliers tr", has_text="vast").locator(".why b")).to_have_text("out")

    expect(switch).to_be_checked()
    out = [each["name"] for each in playground.call("GET", "/_dev/state")["suppliers"] if each["outage"]]
    assert out == ["vast"]


def test_the_page_goes_on_without_its_stream(page: Page, playground: Playground) -> None:
    """It says that the stream is lost, and polls instead."""
    # Here, and not as a fault of the control plane, which forgets its faults when it begins anew and ends the stream.
    page.route("**/v1/events?*", lambda route: route.fulfill(status=500))
    playground.call("POST", "/_dev/reset")
    expect(page.locator("#link")).to_have_text("Connecting…")
    expect(page.locator("#notice")).to_contain_text("began anew")
    run_job(page)
    playground.advance(7200)
    expect_status(page, "completed")
    page.unroute("**/v1/events?*")
    expect(page.locator("#link")).to_have_text("Live")


def test_faults_are_told_beside_their_field(page: Page, playground: Playground) -> None:
    """All at once, as they are typed; nothing is submitted, and the first of them gets the focus."""
    page.get_by_label("gpu_count").fill("9")
    page.get_by_label("max_runtime_seconds").fill("59")
    page.get_by_label("command").fill("python 'x")
    expect(page.locator("#snippet")).to_have_text("Correct what is marked in the form, and the code is here.")
    expect(page.locator("#e-gpu_count")).to_have_text("an integer from 1 to 8.")
    expect(page.locator("#e-max_runtime_seconds")).to_have_text("an integer from 60 to 172800.")
    expect(page.locator("#e-command")).to_contain_text("no closing quotation")
    page.get_by_role("button", name="Run job").click()
    expect(page.get_by_label("command")).to_be_focused()

    assert page.locator("[aria-invalid=true]").count() == 3
    assert playground.call("GET", "/v1/jobs")["jobs"] == []


def test_a_name_and_labels_are_given_and_shown(page: Page, playground: Playground) -> None:
    """As they were written, on the job, and in what is told of it; a fault is told beside the field."""
    page.get_by_label("name", exact=True).fill("nightly 夜間")
    page.get_by_label("labels").fill("Team=search")
    expect(page.locator("#e-labels")).to_contain_text("letter or digit at either end")
    page.get_by_label("labels").fill("team=search: 夜\ngpu-test")
    expect(page.locator("#e-labels")).to_have_text("key=value, one a line")
    page.get_by_role("button", name="Register the inbox").click()
    run_job(page)
    expect(page.locator("#named")).to_have_text("nightly 夜間 · gpu-test · team=search: 夜")
    told = page.locator("#deliveries li", has_text="job.placed")
    told.locator("summary").click()
    expect(told.locator("pre")).to_contain_text('"labels": {\n      "gpu-test": "",\n      "team": "search: 夜"')
    (job,) = playground.call("GET", "/v1/jobs?label=team:search:%20%E5%A4%9C&label=gpu-test")["jobs"]

    assert (job["name"], job["labels"]) == ("nightly 夜間", {"team": "search: 夜", "gpu-test": ""})


def test_the_same_job_is_code_ready_to_copy(page: Page) -> None:
    """In four languages, chosen by mouse or arrow keys; what is copied is what the server wrote."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_label("image").fill("it's")
    expect(page.locator("#snippet")).to_contain_text('image="it\'s",')
    page.get_by_role("tab", name="Python", exact=True).press("ArrowRight")
    expect(page.get_by_role("tab", name="async Python")).to_be_focused()
    expect(page.locator("#snippet")).to_contain_text("await client.run(")
    page.get_by_role("tab", name="CLI").click()
    button = page.locator("#copy")
    button.evaluate(_NOTE_TEXTS)
    button.evaluate("button => { button.click(); setTimeout(() => button.click(), 50); }")
    # The button says so for a moment only.
    expect(page.locator("#say")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    expect(button).to_have_text("Copy")
    # The second press, too, takes back what the button says.
    page.evaluate("new Promise((resolve) => setTimeout(resolve, 100))")
    expect(button).to_have_text("Copy")

    assert set(page.evaluate("window.texts")) == {"Copied", "Copy"}
    assert copied == page.locator("#snippet").text_content()
    assert 'nodus run --image "it\'s" \\\n' in copied


def test_everything_is_reached_with_the_keyboard(page: Page, playground: Playground) -> None:
    """From the skip link to a job that runs, an outage flipped, and a counter-offer taken."""
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the job")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#spec")).to_be_focused()
    for _ in range(4):
        page.keyboard.press("Tab")
    expect(page.get_by_label("image")).to_be_focused()
    page.keyboard.press("Enter")
    expect_status(page, "placed")
    page.get_by_role("switch", name="Simulate a supplier outage: hyperbolic").focus()
    with page.expect_response("**/hyperbolic/outage"):
        page.keyboard.press("Space")
    expect(page.get_by_role("switch", name="Simulate a supplier outage: hyperbolic")).to_have_attribute(
        "aria-checked", "true"
    )
    expect(page.get_by_role("switch", name="Simulate a supplier outage: hyperbolic")).to_be_focused()
    playground.advance(7200)
    expect(page.locator("#say")).to_contain_text("Job completed at vast")
    page.get_by_label("name", exact=True).fill("<img src=x onerror=alert(1)>")
    page.get_by_label("gpu_count").fill("8")
    page.get_by_label("max_cost_usd").fill("0.1")
    # For a moment after a run, the same key again is taken for the second half of a double press.
    expect(page.get_by_role("button", name="Run job")).to_have_attribute("aria-disabled", "false")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("422 max_cost_too_low")
    offered = page.get_by_role("group", name="What would be accepted").get_by_role("button")
    expect(offered).to_have_text(["Run it on 2 GPUs", "Raise its ceiling to $0.32"])
    offered.first.focus()
    page.keyboard.press("Tab")
    expect(offered.last).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#named")).to_have_text("<img src=x onerror=alert(1)>")
    expect(page.get_by_label("max_cost_usd")).to_have_value("0.32")
    expect_status(page, "placed")
