"""The card that a notebook shows for a job."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

import nodus
from nodus._card import card
from tests._async.clients import scripted as scripted_async
from tests._sync.clients import scripted
from tests.support.script import AsyncScript, Script

DONE = nodus.JobView(
    id="0198c0de-0000-7000-8000-000000000001",
    status=nodus.JobStatus.COMPLETED,
    image="ghcr.io/acme/train:v3",
    gpu=nodus.GpuType.H100_80GB,
    gpu_count=8,
    supplier="lambda",
    region="us-west-1",
    duration_s=3723.5,
    cost_usd=12.5,
    retail_cost_usd=40.25,
    saved_usd=27.75,
)


class Reader(HTMLParser):
    """Reads the texts, and holds the elements to be closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read(html: str) -> Reader:
    """Read a card; all of its elements are closed."""
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def test_it_has_the_facts() -> None:
    """The status comes first; money and times are written for people."""
    texts = read(card(DONE)).texts

    assert "completed" in texts
    for fact in (DONE.id, "8 × h100_80gb", "lambda", "us-west-1", "3,723.5 s", "$12.50", "$40.25", "$27.75"):
        assert fact in texts


def test_what_is_not_known_yet_is_left_out() -> None:
    """There are no dashes, and no `None`."""
    texts = read(card(nodus.JobView(id="a", status=nodus.JobStatus("paused")))).texts

    assert texts == ["Nodus job", " ", "paused", "id", "a"]


@given(st.text(), st.text(), st.text())
def test_what_a_job_says_stays_text(image: str, message: str, status: str) -> None:
    """Its text is escaped, and makes no HTML element."""
    view = nodus.JobView(id="a", status=nodus.JobStatus(status), image=image or "x", error_message=message or "x")
    reader = read(card(view))
    names = {name for name, _ in reader.attributes}

    assert names <= {"style", "scope"}
    assert len(reader.attributes) == len(read(card(view.model_copy(update={"image": "y"}))).attributes)


def test_nothing_comes_from_elsewhere() -> None:
    """There are no URLs and no scripts, and the text has the notebook's own colour."""
    html = card(DONE)

    assert re.search(r"url\(|src=|href=|<script|<link|@import|http", html) is None
    assert "color:inherit" in html
    assert "background:#" not in html


def test_a_loss_is_a_loss() -> None:
    """`saved_usd` may be negative."""
    assert "-$3.00" in read(card(DONE.model_copy(update={"saved_usd": -3.0}))).texts


def test_both_handles_have_it() -> None:
    """Notebooks look for `_repr_html_`."""
    with scripted(Script()) as client:
        assert client.job("a")._repr_html_() == card(client.job("a").view)
    job = scripted_async(AsyncScript()).job("a")
    assert job._repr_html_() == card(job.view)


def test_a_simulated_job_says_so() -> None:
    """The card and the repr both do; other jobs say nothing of it."""
    texts = {said: read(card(DONE.model_copy(update={"simulated": said}))).texts for said in (True, False, None)}
    with scripted(Script()) as client:
        jobs = {said: nodus.Job(client._session, DONE.model_copy(update={"simulated": said})) for said in texts}

    assert "simulated: nothing runs, nothing is charged" in texts[True]
    assert texts[False] == texts[None]
    assert "simulated" not in "".join(texts[False])
    assert "simulated=True" in repr(jobs[True])
    assert "simulated" not in repr(jobs[False]) + repr(jobs[None])
    assert [job.simulated for job in jobs.values()] == [True, False, False]
