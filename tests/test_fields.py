"""The fields of a job and the filters of a listing: written down once, and shown wherever they can be given."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import nodus
from nodus._cli.commands.jobs import list_command
from nodus._cli.commands.run import run_command
from nodus._fields import FILTERS, JOB, Fields, filter_query

CLIENTS = (nodus.Client, nodus.AsyncClient)


def keywords(function: Callable[..., Any]) -> dict[str, object]:
    """The keyword-only parameters that `help` shows, with their defaults."""
    parameters = inspect.signature(function).parameters.values()
    return {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}


@pytest.mark.parametrize("client", CLIENTS)
def test_run_shows_every_field_with_its_default(client: Any) -> None:
    """As if its parameters were written out; none is left as `**fields`."""
    parameters = inspect.signature(client.run).parameters

    assert keywords(client.run) == {"image": inspect.Parameter.empty, **JOB.defaults}
    assert [parameters[name].annotation for name in JOB.names] == list(JOB.types.values())
    assert all(each.kind is not each.VAR_KEYWORD for each in parameters.values())


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(("method", "own"), [("list", {"limit": 50}), ("iter_jobs", {"page_size": 50})])
def test_listings_show_every_filter(client: Any, method: str, own: dict[str, object]) -> None:
    """Beside their own parameter, which comes first."""
    assert keywords(getattr(client, method)) == {**own, **FILTERS.defaults}


@pytest.mark.parametrize("client", CLIENTS)
def test_docstrings_say_what_each_argument_means(client: Any) -> None:
    """In the place of the line that stands for all of them."""
    for function, fields in ((client.run, JOB), (client.list, FILTERS), (client.iter_jobs, FILTERS)):
        documented = inspect.getdoc(function)
        assert documented is not None
        assert all(f"\n    {name}: " in documented for name in fields.names)
        assert "**" not in documented


def test_every_field_and_filter_has_a_meaning() -> None:
    """A sentence, which the options of the command line show too."""
    for fields in (JOB, FILTERS):
        assert all(fields.meaning(name).endswith(".") for name in fields.names)
        assert all("\n" not in fields.meaning(name) for name in fields.names)


def test_a_spec_has_the_fields_and_their_defaults() -> None:
    """No more, no fewer, and in the same order."""
    spec = nodus.JobSpec(image="i")

    assert tuple(nodus.JobSpec.model_fields) == JOB.names
    assert {name: getattr(spec, name) for name in JOB.defaults} == JOB.defaults


def test_every_field_and_filter_is_an_option() -> None:
    """The program of a job, which follows `--`, is the one exception."""
    options = {option for parameter in run_command.params for option in parameter.opts}
    filters = {option for parameter in list_command.params for option in parameter.opts}

    named = {f"--{name.replace('_', '-')}" for name in JOB.names}
    assert named - options == {"--command", "--labels", "--require-tiers"}
    assert {"--require-tier", "--label"} <= options
    assert set(FILTERS.names) == {"status", "name", "labels", "created_after", "created_before"}
    assert {"--status", "--name", "--label", "--since", "--until"} <= filters


@pytest.mark.parametrize(
    ("method", "arguments", "complaint"),
    [
        ("run", {}, "run() missing 1 required keyword-only argument: 'image'"),
        ("run", {"image": "i", "imag": "i"}, "run() got an unexpected keyword argument 'imag'"),
        ("list", {"stat": "running"}, "list() got an unexpected keyword argument 'stat'"),
        ("iter_jobs", {"limit": 5}, "iter_jobs() got an unexpected keyword argument 'limit'"),
    ],
)
def test_a_wrong_name_is_the_error_that_python_gives(method: str, arguments: dict[str, Any], complaint: str) -> None:
    """A mistake in the program, not in its data."""
    with nodus.Client("k") as client, pytest.raises(TypeError) as caught:
        getattr(client, method)(**arguments)

    assert str(caught.value) == complaint


def test_a_filter_that_is_none_filters_nothing() -> None:
    """Nor does an empty list of statuses."""
    assert filter_query({}) == filter_query({"status": None}) == filter_query({"status": []}) == []
    assert filter_query({"labels": None, "created_after": None}) == filter_query({"labels": {}}) == []


def test_without_docstrings_everything_else_works() -> None:
    """Python drops them with `-OO`; only the words are gone."""
    program = (
        "import inspect, nodus\n"
        "print(list(inspect.signature(nodus.Client.run).parameters)[:2], nodus.JobSpec(image='i').image)"
    )
    done = subprocess.run([sys.executable, "-OO", "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "['self', 'image'] i\n"


def test_a_meaning_may_go_on_for_several_lines() -> None:
    """And ends where the next begins."""

    class Some:
        """Fields.

        Attributes:
            one: a first
                line, and a second.
            other: another.
        """

        __required_keys__ = frozenset({"one"})
        one: int
        other: str

    fields = Fields(Some, {"other": "x"})

    assert [fields.meaning(name) for name in fields.names] == ["a first line, and a second.", "another."]
    assert (fields.required, fields.defaults) == ({"one"}, {"other": "x"})
