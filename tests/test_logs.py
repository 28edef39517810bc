"""The logger `nodus`: silent unless asked, and set up once."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

import nodus
from nodus import _logs


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """The library's logger, put back afterwards as it was."""
    logger = logging.getLogger("nodus")
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:], logger.level = handlers, level


def test_the_library_is_silent_by_itself(logger: logging.Logger) -> None:
    """It installs a null handler, and leaves levels to the application."""
    nodus.Client("k").close()

    assert [type(handler) for handler in logger.handlers] == [logging.NullHandler]
    assert logger.level == logging.NOTSET


@pytest.mark.parametrize(
    ("value", "level"),
    [
        ("info", logging.INFO),
        ("debug", logging.DEBUG),
        (" Debug ", logging.DEBUG),
        ("warning", logging.WARNING),
        ("", None),
        ("trace", None),
    ],
)
def test_the_environment_turns_it_on(
    value: str,
    level: int | None,
    logger: logging.Logger,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """However many clients there are, there is one handler; an invalid value changes nothing."""
    _logs._complain.cache_clear()
    monkeypatch.setenv("NODUS_LOG", value)
    for _ in range(3):
        nodus.Client("k").close()

    assert ("is not a level" in capsys.readouterr().err) == (value == "trace")
    assert len(logger.handlers) == (1 if level is None else 2)
    assert logger.level == (logging.NOTSET if level is None else level)


def test_a_line_says_when_who_and_how_grave(logger: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time, logger and level come before the message."""
    stream = io.StringIO()
    monkeypatch.setenv("NODUS_LOG", "info")
    monkeypatch.setattr("sys.stderr", stream)
    _logs.set_up_from_environment()
    logger.info("retry %d of %d", 1, 2)

    assert stream.getvalue().endswith(" nodus INFO retry 1 of 2\n")
