"""Checks of the arguments of public calls: what each accepts, at its limits, and what it says of anything else."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import pytest

from nodus import ValidationError, _arguments

NO_STRINGS = [None, 1, b"x", True, ["x"]]


def refusal(check: Callable[[], object]) -> tuple[str | None, str]:
    """The code and the text of the error that a check raises."""
    with pytest.raises(ValidationError) as caught:
        check()
    return caught.value.code, caught.value.message


@pytest.mark.parametrize("value", [0, 0.0, 1, 2.5, _arguments.MAX_SECONDS])
def test_seconds_are_any_number_from_the_minimum_on(value: float) -> None:
    """They come back as a float, whichever they were."""
    accepted = _arguments.seconds("timeout", value)

    assert (accepted, type(accepted)) == (value, float)


@pytest.mark.parametrize(
    "value", [-0.001, math.nan, math.inf, -math.inf, _arguments.MAX_SECONDS * 1.001, "2", True, None]
)
def test_what_is_no_number_of_seconds_is_refused_with_the_limit(value: object) -> None:
    """Infinity too, which no clock reaches, and a bool, which Python takes for a number."""
    code, text = refusal(lambda: _arguments.seconds("timeout", value))

    assert code == "invalid_argument"
    assert text == f"`timeout` must be a number of seconds of at least 0, not {value!r}."


def test_a_minimum_may_itself_be_too_little() -> None:
    """A timeout of 0 would end every call before it begins."""
    assert _arguments.seconds("timeout", 1.0, minimum=1.0) == 1.0
    assert _arguments.seconds("timeout", 1.01, minimum=1.0, exclusive=True) == 1.01

    _, text = refusal(lambda: _arguments.seconds("timeout", 1.0, minimum=1.0, exclusive=True))
    assert text == "`timeout` must be a number of seconds above 1, not 1.0."


def test_a_whole_number_is_an_int_of_at_least_the_minimum() -> None:
    """No bool, no float that happens to be whole, no digits in a string."""
    assert _arguments.whole_number("limit", 1, minimum=1) == 1
    for value in (0, True, 1.0, "1", None):
        assert refusal(lambda value=value: _arguments.whole_number("limit", value, minimum=1)) == (  # type: ignore[misc]
            "invalid_argument",
            f"`limit` must be a whole number of at least 1, not {value!r}.",
        )


def test_a_word_may_be_unknown_to_this_version_but_must_be_printable_ascii() -> None:
    """A newer server may have more values than this version knows."""
    assert _arguments.word("status", "running") == "running"
    assert _arguments.word("status", "of-a-newer-server") == "of-a-newer-server"
    for value in ("", "läuft", "run\nning", *NO_STRINGS):
        code, text = refusal(lambda value=value: _arguments.word("status", value))  # type: ignore[misc]
        assert code == "invalid_argument"
        assert text.startswith("`status` must be a word such as 'running', not ")


@pytest.mark.parametrize("value", ["01a22bda-c70d-75f7-bef0-e306469f05c0", "a/b", "a b", "...", "a..b", ".a", "ü"])
def test_an_id_of_a_newer_server_may_look_different(value: str) -> None:
    """Only what would change the path is refused: the rest is escaped when it is sent."""
    assert _arguments.job_id(value) == value
    assert _arguments.identifier("webhook", value) == value


@pytest.mark.parametrize("value", ["", ".", "..", "a/..", "../a", "a/./b", "a\\..\\b", "a\n", "\x00", "\x85", "\ud800"])
def test_an_id_that_would_lead_to_another_path_is_refused(value: str) -> None:
    """Dot segments, which clients and proxies remove, and what no path may hold."""
    assert refusal(lambda: _arguments.job_id(value)) == (
        "invalid_job_id",
        f"{value!r} is not a job id: use the `id` of a job that `run()` or `list()` returned.",
    )
    assert refusal(lambda: _arguments.identifier("webhook", value)) == (
        "invalid_webhook_id",
        f"{value!r} is not the id of a webhook.",
    )


@pytest.mark.parametrize("value", NO_STRINGS)
def test_an_id_that_is_no_string_is_told_by_its_type(value: object) -> None:
    """Its value may be anything, and long: a whole job that was passed for its id."""
    kind = type(value).__name__
    assert refusal(lambda: _arguments.job_id(value)) == ("invalid_job_id", f"A job id must be a string, not {kind}.")
    assert refusal(lambda: _arguments.identifier("key", value)) == ("invalid_key_id", f"{kind} is not the id of a key.")


@pytest.mark.parametrize(("value", "sent"), [(None, None), (0, "0"), (17, "17"), ("17", "17"), ("latest", "latest")])
def test_events_are_resumed_after_an_id_in_either_form(value: object, sent: str | None) -> None:
    """None for the beginning, or where a stream was."""
    assert _arguments.event_id(value) == sent


@pytest.mark.parametrize("value", [-1, True, 1.0, "", " 1", "1 ", "1\r\nX: y", "ü", "1" * 129])
def test_an_event_id_that_no_header_can_carry_is_refused(value: object) -> None:
    """It is sent as `Last-Event-ID`."""
    assert refusal(lambda: _arguments.event_id(value)) == (
        "invalid_argument",
        f"`after` must be the id of an event, not {value!r}.",
    )


@pytest.mark.parametrize("value", ["x", "nightly 2026-11-30", "~" * 128])
def test_an_idempotency_key_is_up_to_128_printable_characters(value: str) -> None:
    """Spaces are fine between others."""
    assert _arguments.idempotency_key(value) == value


@pytest.mark.parametrize("value", ["", " x", "x ", "x\n", "ü", "x" * 129, *NO_STRINGS])
def test_an_idempotency_key_that_no_header_can_carry_is_refused(value: object) -> None:
    """HTTP strips spaces at either end: another key would be sent than the caller sees."""
    code, text = refusal(lambda: _arguments.idempotency_key(value))

    assert code == "invalid_idempotency_key"
    assert text.startswith("`idempotency_key` must be 1 to 128 printable ASCII characters")


def test_new_idempotency_keys_are_valid_and_never_the_same() -> None:
    """128 random bits each."""
    keys = {_arguments.new_idempotency_key() for _ in range(1000)}

    assert len(keys) == 1000
    assert all(re.fullmatch("nodus-[0-9a-f]{32}", _arguments.idempotency_key(key)) for key in keys)
