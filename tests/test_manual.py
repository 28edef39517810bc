"""The public surface as the manual has it: signatures and defaults, and two clients that mirror each other."""

from __future__ import annotations

import inspect
from typing import Any

import pydantic
import pytest

import nodus

PAIRS = [(nodus.AsyncClient, nodus.Client), (nodus.AsyncJob, nodus.Job)]
RENAMED = {"aclose": "close", "__aenter__": "__enter__", "__aexit__": "__exit__", "__anext__": "__next__"}
WAITS = {
    "run",
    "get",
    "list",
    "healthz",
    "wait_all",
    "aclose",
    "refresh",
    "wait",
    "cancel",
    "routing",
    "offers",
    "usage",
    "run_many",
    "quote",
    "key",
    "ledger",
}

REQUIRED = inspect.Parameter.empty

SIGNATURES: dict[str, dict[str, Any]] = {
    "Client": {"api_key": None, "base_url": None, "timeout": 30.0, "max_retries": 2},
    "Client.run": {
        "image": REQUIRED,
        "command": None,
        "gpu": "h100_80gb",
        "gpu_count": 1,
        "env": None,
        "max_runtime_seconds": 3600,
        "require_tiers": None,
        "prefer_region": None,
        "idempotency_key": None,
    },
    "Client.get": {"job_id": REQUIRED},
    "Client.list": {"limit": 50},
    "Client.iter_jobs": {"page_size": 50},
    "Client.healthz": {},
    "Client.close": {},
    "Job.refresh": {},
    "Job.wait": {"poll_seconds": 2.0, "timeout_seconds": None},
}
POSITIONAL = {"Client": ["api_key"], "Client.get": ["job_id"]}


def parameters_of(thing: Any) -> dict[str, inspect.Parameter]:
    """The public parameters of a callable."""
    return {
        name: parameter
        for name, parameter in inspect.signature(thing).parameters.items()
        if name != "self" and not name.startswith("_")
    }


def public_members(kind: type) -> dict[str, Any]:
    """What a class has for its users, under the synchronous names."""
    return {
        RENAMED.get(name, name): member
        for name, member in vars(kind).items()
        if not name.startswith("_") or name in RENAMED or name in RENAMED.values()
    }


def look_up(name: str) -> Any:
    """Find `Client.run` and the like."""
    thing: Any = nodus
    for part in name.split("."):
        thing = getattr(thing, part)
    return thing


@pytest.mark.parametrize("name", SIGNATURES)
def test_names_and_defaults_are_the_manuals(name: str) -> None:
    """Parameters are keyword-only unless the manual passes them by position; additional ones have a default."""
    parameters = parameters_of(look_up(name))
    expected = SIGNATURES[name]
    added = [parameter for key, parameter in parameters.items() if key not in expected]
    positional = [key for key, one in parameters.items() if one.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]

    assert {key: parameters[key].default for key in expected} == expected
    assert list(parameters)[: len(expected)] == list(expected)
    assert all(parameter.default is not REQUIRED for parameter in added)
    assert positional == POSITIONAL.get(name, [])


@pytest.mark.parametrize(("asynchronous", "synchronous"), PAIRS)
def test_the_async_class_mirrors_the_sync_one(asynchronous: type, synchronous: type) -> None:
    """Same names, same arguments, same defaults, same documentation of each argument."""
    awaited, plain = public_members(asynchronous), public_members(synchronous)

    assert awaited.keys() == plain.keys()
    for name, member in awaited.items():
        assert type(member) is type(plain[name])
        if inspect.isfunction(member):
            ours = {key: (p.kind, p.default) for key, p in parameters_of(member).items()}
            theirs = {key: (p.kind, p.default) for key, p in parameters_of(plain[name]).items()}

            assert ours == theirs


@pytest.mark.parametrize("kind", [nodus.AsyncClient, nodus.AsyncJob])
def test_what_does_io_is_awaited(kind: type) -> None:
    """Nothing else is: making a handle or a child client costs no turn of the event loop."""
    functions = {name: member for name, member in vars(kind).items() if inspect.isfunction(member)}
    awaited = {name for name, member in functions.items() if inspect.iscoroutinefunction(member)}

    assert {name for name in awaited if not name.startswith("_")} == WAITS & functions.keys()


@pytest.mark.parametrize("name", [name for name in nodus.__all__ if name != "__version__"])
def test_every_public_name_is_documented(name: str) -> None:
    """Every public method has a docstring too."""
    thing = getattr(nodus, name)
    undocumented = [
        member_name
        for member_name, member in (vars(thing).items() if inspect.isclass(thing) else ())
        if not member_name.startswith("_")
        and (inspect.isfunction(member) or isinstance(member, property))
        and not inspect.getdoc(member)
    ]

    assert thing.__doc__
    assert undocumented == []


@pytest.mark.parametrize("name", ["AsyncClient", "AsyncJob", "Client", "Job", "NodusError", "RateLimitError"])
def test_tracebacks_and_reprs_say_the_public_name(name: str) -> None:
    """They say `nodus.RateLimitError`, not the private module."""
    assert getattr(nodus, name).__module__ == "nodus"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """Loading names lazily does not hide a typing mistake."""
    with pytest.raises(AttributeError, match="module 'nodus' has no attribute 'no_such_name'"):
        look_up("no_such_name")
    assert {name for name in dir(nodus) if not name.startswith("__")} == set(nodus.__all__) - {"__version__"}
    assert "__version__" in dir(nodus)


def test_an_async_client_is_no_sync_context() -> None:
    """Using the wrong kind of `with` fails at once, in both directions."""
    assert not hasattr(nodus.AsyncClient, "__enter__")
    assert not hasattr(nodus.Client, "__aenter__")
    assert not hasattr(nodus.AsyncClient, "close")


def test_only_id_and_status_are_needed_of_a_server() -> None:
    """Everything else may be missing, from an older or a newer one."""
    view = nodus.JobView.model_validate({"id": "1", "status": "queued", "added_in_2030": {"a": 1}})
    required = {name for name, field in nodus.JobView.model_fields.items() if field.is_required()}

    assert required == {"id", "status"}
    assert not hasattr(view, "added_in_2030")


@pytest.mark.parametrize("status", ["paused", "completed"])
def test_a_view_goes_through_json_and_back(status: str) -> None:
    """An unknown status survives too, without a warning."""
    view = nodus.JobView(id="1", status=nodus.JobStatus(status), gpu=nodus.GpuType("b300"))

    assert nodus.JobView.model_validate_json(view.model_dump_json()) == view
    assert view.model_dump(mode="json", exclude_none=True) == {"id": "1", "status": status, "gpu": "b300", "labels": {}}


def test_a_view_does_not_change() -> None:
    """It can be kept, compared and shared between threads."""
    view = nodus.JobView(id="1", status=nodus.JobStatus.QUEUED)

    with pytest.raises(pydantic.ValidationError):
        view.status = nodus.JobStatus.RUNNING
