"""What a transport raised, as a failed attempt: which error, whether it may be retried, and whether it was sent."""

from __future__ import annotations

import builtins
import ssl
import sys

import pytest

import nodus
from nodus._calls import Call
from nodus._failures import chain_of, failure_from_exception
from nodus._httpx import httpx

CALL = Call("POST", "/v1/jobs")


def chained(outer: Exception, inner: BaseException) -> Exception:
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("raised", "kind", "outcome_unknown"),
    [
        (httpx.ConnectError("refused"), nodus.APIConnectionError, False),
        (httpx.ConnectTimeout("slow"), nodus.APITimeoutError, False),
        (httpx.PoolTimeout("busy"), nodus.APITimeoutError, False),
        (httpx.LocalProtocolError("bad header"), nodus.APIConnectionError, False),
        (httpx.ProxyError("403 Forbidden"), nodus.APIConnectionError, False),
        (httpx.ReadTimeout("slow"), nodus.APITimeoutError, True),
        (httpx.WriteError("reset"), nodus.APIConnectionError, True),
        (httpx.RemoteProtocolError("cut short"), nodus.APIConnectionError, True),
        (ConnectionResetError("reset"), nodus.APIConnectionError, True),
        (EOFError("end"), nodus.APIConnectionError, True),
        (TimeoutError("slow"), nodus.APITimeoutError, True),
    ],
)
def test_the_error_says_whether_the_server_may_have_acted(
    raised: Exception, kind: type[nodus.NodusError], outcome_unknown: bool
) -> None:
    """What fails before the first byte is sent cannot have had any effect; after that nobody knows."""
    failure = failure_from_exception(raised, CALL)

    assert type(failure.error) is kind
    assert failure.error.outcome_unknown is outcome_unknown
    assert failure.error.__cause__ is raised
    assert failure.error.message.startswith("POST /v1/jobs ")
    assert str(raised) in failure.error.message


@pytest.mark.parametrize("bug", [TypeError("a bug"), KeyError("a bug"), AttributeError("a bug")])
def test_a_bug_is_raised_as_it_is(bug: Exception) -> None:
    """It does not say anything about the network."""
    with pytest.raises(type(bug), match="a bug") as caught:
        failure_from_exception(bug, CALL)

    assert caught.value is bug


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups are new in Python 3.11")
def test_a_group_is_of_the_network_if_everything_in_it_is() -> None:
    """One bug among the rest is a bug."""
    group = builtins.ExceptionGroup  # type: ignore[attr-defined]  # Python 3.10 has none

    assert failure_from_exception(group("all", [OSError("a"), EOFError("b")]), CALL).error.code
    with pytest.raises(Exception, match="one") as caught:
        failure_from_exception(group("one", [OSError("a"), KeyError("b")]), CALL)
    assert not isinstance(caught.value, nodus.NodusError)


@pytest.mark.parametrize(
    ("raised", "permanent"),
    [
        (httpx.ConnectError("refused"), False),
        (httpx.UnsupportedProtocol("no http"), True),
        (httpx.InvalidURL("no URL"), True),
        (httpx.ProxyError("407 Proxy Authentication Required"), True),
        (httpx.ProxyError("503 Service Unavailable"), False),
        (chained(httpx.ConnectError("inside"), httpx.ProxyError("407 Proxy Authentication Required")), True),
    ],
)
def test_only_what_would_fail_again_is_permanent(raised: Exception, permanent: bool) -> None:
    """A proxy that wants a password wants one at the next attempt too."""
    assert failure_from_exception(raised, CALL).permanent is permanent


def test_a_certificate_that_does_not_verify_is_permanent_and_was_never_sent() -> None:
    """The reason is found anywhere in the chain of causes."""
    inner = ssl.SSLCertVerificationError(1, "certificate verify failed")
    failure = failure_from_exception(chained(httpx.ReadError(""), inner), CALL)

    assert failure.permanent
    assert failure.error.outcome_unknown is False
    assert "certificate verify failed" in failure.error.message


def test_no_error_keeps_the_request_with_its_credentials() -> None:
    """Errors are logged and pickled, so the whole chain is cleared."""
    request = httpx.Request("GET", "https://api.example", headers={"Authorization": "Bearer nk_live_secret"})
    inner = httpx.ReadError("inner", request=request)
    outer = chained(httpx.ReadTimeout("outer", request=request), inner)

    failure_from_exception(outer, CALL)

    for error in (outer, inner):
        with pytest.raises(RuntimeError, match="request"):
            error.request  # type: ignore[union-attr]  # noqa: B018  # httpx raises where there is none


def test_the_first_link_with_a_text_tells_what_happened() -> None:
    """Wrapping exceptions are often empty."""
    failure = failure_from_exception(chained(httpx.ReadError(""), OSError("connection reset by peer")), CALL)

    assert failure.error.message == "POST /v1/jobs failed: connection reset by peer"


def test_without_any_text_the_class_tells_what_happened() -> None:
    """The message never ends in a bare colon."""
    assert failure_from_exception(httpx.ReadError(""), CALL).error.message == "POST /v1/jobs failed: ReadError"


def test_while_python_shuts_down_a_bug_is_told_for_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules and threads are no longer available then, which raises all kinds of errors."""
    monkeypatch.setattr(sys, "is_finalizing", lambda: True)

    with pytest.raises(nodus.ConfigurationError, match="Python is shutting down") as caught:
        failure_from_exception(RuntimeError("cannot schedule new futures"), CALL)

    assert caught.value.code == "client_closed"


def test_a_chain_follows_causes_before_contexts() -> None:
    """It ends at the exception with which everything began."""
    root, middle, top = OSError("root"), OSError("middle"), OSError("top")
    middle.__context__ = root
    top.__cause__, top.__context__ = middle, ValueError("elsewhere")

    assert list(chain_of(top)) == [top, middle, root]
