"""The tree of errors: what each is, what it carries, and that it survives a trip to another process."""

from __future__ import annotations

import copy
import pickle

import pytest

import nodus

TREE = {
    nodus.ConfigurationError: ("invalid_configuration", nodus.NodusError),
    nodus.AuthenticationError: ("invalid_api_key", nodus.NodusError),
    nodus.SignatureError: ("signature_invalid", nodus.NodusError),
    nodus.BudgetExceededError: ("budget_exceeded", nodus.NodusError),
    nodus.NotFoundError: ("not_found", nodus.NodusError),
    nodus.ValidationError: ("invalid_spec", nodus.NodusError),
    nodus.RateLimitError: ("rate_limited", nodus.NodusError),
    nodus.SupplierUnavailableError: ("no_supplier", nodus.NodusError),
    nodus.APIError: ("http_error", nodus.NodusError),
    nodus.APIConnectionError: ("connection_error", nodus.NodusError),
    nodus.APITimeoutError: ("timeout", nodus.APIConnectionError),
    nodus.LedgerError: ("ledger_malformed", nodus.NodusError),
    nodus.JobTimeoutError: ("wait_timeout", nodus.NodusError),
}

KINDS = [kind for kind in TREE if kind is not nodus.JobTimeoutError]


def facts_of(error: nodus.NodusError) -> dict[str, object]:
    """Everything that an error carries."""
    return {"type": type(error), "str": str(error), "args": error.args, **vars(error)}


@pytest.mark.parametrize("kind", TREE)
def test_every_error_has_its_place_in_the_tree(kind: type[nodus.NodusError]) -> None:
    """The base catches all; the code is the manual's; the traceback names the public class."""
    code, base = TREE[kind]

    error = kind("It failed.")

    assert error.code == code
    assert kind.__bases__[0] is base
    assert f"{kind.__module__}.{kind.__qualname__}" == f"nodus.{kind.__name__}"
    assert kind.__doc__


def test_the_tree_has_no_other_error() -> None:
    """What is public is what the manual lists, and the error of a wait."""
    public = {getattr(nodus, name) for name in nodus.__all__ if name.endswith("Error")}

    assert public == {*TREE, nodus.NodusError}


def test_a_signature_error_is_no_authentication_error() -> None:
    """The remedies differ: sign again, set the clock, or rotate the key."""
    assert not issubclass(nodus.SignatureError, nodus.AuthenticationError)


def test_errors_are_what_the_standard_library_would_have_raised() -> None:
    """A wait that is over is a `TimeoutError`, and an invalid argument a `ValueError`."""
    assert issubclass(nodus.JobTimeoutError, TimeoutError)
    assert issubclass(nodus.ValidationError, ValueError)


def test_an_error_knows_nothing_that_nobody_told_it() -> None:
    """Each attribute has a neutral default."""
    error = nodus.APIError("It failed.")

    assert vars(error) == {
        "message": "It failed.",
        "code": "http_error",
        "status_code": None,
        "request_id": None,
        "payload": None,
        "retry_after": None,
        "attempts": 0,
        "idempotency_key": None,
        "outcome_unknown": False,
    }


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, "It failed. (http_error)"),
        ({"code": "no_gpu"}, "It failed. (no_gpu)"),
        ({"status_code": 500}, "It failed. (http_error, HTTP 500)"),
        ({"status_code": 500, "request_id": "r-1"}, "It failed. (http_error, HTTP 500, request r-1)"),
    ],
)
def test_an_error_prints_what_support_asks_for(facts: dict[str, object], expected: str) -> None:
    """The message, then the code, the status and the request's id, where there are such."""
    error = nodus.APIError("It failed.", **facts)  # type: ignore[arg-type]

    assert str(error) == expected
    assert repr(error) == f"APIError('It failed.', code={error.code!r}, status_code={error.status_code!r})"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", KINDS)
def test_errors_pickle_whole(kind: type[nodus.NodusError], protocol: int) -> None:
    """A worker process can return them."""
    error = complete(kind)

    assert facts_of(pickle.loads(pickle.dumps(error, protocol))) == facts_of(error)


@pytest.mark.parametrize("kind", KINDS)
def test_errors_copy_whole(kind: type[nodus.NodusError]) -> None:
    """A deep copy shares nothing that can change."""
    error = complete(kind)

    shallow, deep = copy.copy(error), copy.deepcopy(error)

    assert facts_of(shallow) == facts_of(error)
    assert facts_of(deep) == facts_of(error)
    assert deep.payload is not error.payload


@pytest.mark.parametrize("again", [copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_a_wait_that_timed_out_pickles_with_the_snapshot_of_its_job(again: object) -> None:
    """The handle has a connection behind it and stays; what it last showed travels."""
    assert callable(again)
    with nodus.Client("k", http_client=NeverSends()) as client:
        job = client.job("a-job")
        error = nodus.JobTimeoutError("Too late.", job=job)
        twin = again(error)

    assert error.job is job
    assert twin.job == job.view
    assert (str(twin), twin.code) == (str(error), "wait_timeout")


def test_an_error_of_a_users_own_subclass_pickles() -> None:
    """Whatever its constructor asks for, it is not called again."""
    error = OddError(1, 2)
    error.add_note("seen in batch 7") if hasattr(error, "add_note") else None

    twin = pickle.loads(pickle.dumps(error))

    assert facts_of(twin) == facts_of(error)


class OddError(nodus.APIError):
    """An error with a constructor unlike its base's."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} is not {second}.", code="odd")
        self.difference = second - first


class NeverSends:
    """An HTTP client for tests in which nothing may be sent."""

    def send(self, request: object, *, follow_redirects: bool) -> object:
        raise AssertionError("nothing was to be sent")


def complete(kind: type[nodus.NodusError]) -> nodus.NodusError:
    """An error with every fact set."""
    return kind(
        "It failed.",
        code="a_code",
        status_code=503,
        request_id="r-1",
        payload={"error": "a_code", "nested": [1]},
        retry_after=1.5,
        attempts=3,
        idempotency_key="key-1",
        outcome_unknown=True,
    )
