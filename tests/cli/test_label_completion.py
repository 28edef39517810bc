"""A shell completes labels to those of recent jobs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli.conftest import Command
from tests.cli.pseudo_terminal import PATIENCE_SECONDS
from tests.cli.stub import Answer, Stub, job

JOBS = [
    job("a", labels={"team": "search", "gpu-test": ""}),
    job("b", labels={"team": "ads"}),
    job("c", labels={"team": "search", "tempo": "x\ny"}),
]


@pytest.fixture
def offered(
    nodus: Command, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[[str], list[str]]:
    """What a shell is offered at the end of these words."""
    monkeypatch.setattr("nodus._cli.label_completion.MOST_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setenv("_NODUS_COMPLETE", "zsh_complete")

    def ask(words: str) -> list[str]:
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
        with pytest.raises(SystemExit) as ended:
            nodus()
        written = capfd.readouterr()
        assert (ended.value.code, written.err) == (0, "")
        return [line for line in written.out.split("\n") if line not in ("plain", "_", "")]

    return ask


@pytest.mark.parametrize("name", ["run", "quote", "list", "wait", "cancel"])
def test_labels_of_recent_jobs_are_offered(stub: Stub, offered: Callable[[str], list[str]], name: str) -> None:
    """Those that begin so, each once; one that would be two lines is left out."""
    stub.answer("GET /v1/jobs", Answer(200, {"jobs": JOBS, "next_cursor": None}))

    assert offered(f"nodus {name} --label te") == ["team=ads", "team=search"]
    assert offered(f"nodus {name} --label team=s") == ["team=search"]
    assert stub.called("GET /v1/jobs")[0].query == {"limit": ["200"]}


def test_nothing_is_offered_where_nobody_can_be_asked(
    stub: Stub, offered: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither an error nor a second attempt disturbs who is typing."""
    stub.answer("GET /v1/jobs", Answer(503, {"error": "busy", "message": "Busy."}))

    assert offered("nodus list --label te") == []
    assert len(stub.requests) == 1
    monkeypatch.delenv("NODUS_API_KEY")
    assert offered("nodus list --label te") == []
    assert len(stub.requests) == 1
