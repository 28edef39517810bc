"""What editors complete without running the code: the public names load lazily, and must be found all the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import nodus
from tests.support.optional import import_or_skip

jedi = import_or_skip("jedi", "completes names as python-lsp-server, Spyder, Vim and Emacs do")


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What jedi keeps on disk is not written in one step: another process that reads it meanwhile fails."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jedi.settings, "cache_directory", str(tmp_path_factory.mktemp("jedi")))
        yield


def completed(code: str) -> set[str]:
    """The names that an editor would offer at the end of the code."""
    return {each.name for each in script(code).complete()}


def script(code: str) -> Any:
    """Code as jedi sees it, which would otherwise start a process of its own."""
    return jedi.Script(code, environment=jedi.InterpreterEnvironment())


def test_every_public_name_is_completed() -> None:
    """Editors read the names from the imports for type checkers."""
    assert set(nodus.__all__) <= completed("import nodus\nnodus.")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import nodus\nclient = nodus.Client()\nclient.", {"run", "list", "webhooks"}),
        ("import nodus\njob = nodus.Client().run()\njob.", {"wait", "cost_usd"}),
        ("from nodus import AsyncClient\nAsyncClient().", {"run", "aclose"}),
        ("import nodus\nnodus.JobStatus.", {"COMPLETED"}),
    ],
)
def test_what_a_name_stands_for_is_known(code: str, expected: set[str]) -> None:
    """The members of a class are offered too."""
    assert expected <= completed(code)


def test_the_arguments_of_a_call_are_shown() -> None:
    """Editors show the arguments' names."""
    (signature,) = script("import nodus\nnodus.Client().run(").get_signatures()

    assert {"image", "gpu", "command"} <= {parameter.name for parameter in signature.params}
