"""Where secrets are not: in files, dumps, exports, logs and errors, after a busy run."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator

import pytest
from keys.busy import (
    BAD_COMMAND_WORD,
    BAD_ENV_VALUE,
    COMMAND_WORD,
    ENV_VALUE,
    OTHER_ENV_VALUE,
    WRONG_KEY,
    WRONG_SECRET,
    BusyRun,
    LogOfEverything,
    Traces,
)


@pytest.fixture
def log() -> Iterator[LogOfEverything]:
    """Every logger at debug level; SQLAlchemy's does not follow the root's."""
    handler, loggers = LogOfEverything(), [logging.getLogger(), logging.getLogger("sqlalchemy")]
    before = [logger.level for logger in loggers]
    loggers[0].addHandler(handler)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    yield handler
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)
    loggers[0].removeHandler(handler)


@pytest.mark.both_engines
@pytest.mark.parametrize("with_redis", [False, True], ids=["sealed", "redis"])
def test_no_secret_is_found_anywhere(
    request: pytest.FixtureRequest, kept_database_url: str, log: LogOfEverything, with_redis: bool
) -> None:
    """No key, signing secret, webhook secret, env value or command; signing secrets in Redis itself excepted."""
    redis_url = request.getfixturevalue("redis_url") if with_redis else None
    traces = BusyRun(kept_database_url, redis_url, log.text).run()
    traces.secrets |= {
        "an env value": ENV_VALUE,
        "another env value": OTHER_ENV_VALUE,
        "a command": COMMAND_WORD,
        "an env value that was refused": BAD_ENV_VALUE,
        "a command that was refused": BAD_COMMAND_WORD,
        "a wrong key": WRONG_KEY,
        "a wrong signing secret": WRONG_SECRET,
    }

    assert traces.leaks() == []
    assert {400, 401, 404, 409, 422, 500} <= traces.statuses
    assert {"budget_exceeded", "forbidden_principal", "idempotency_key_reused", "invalid_api_key"} <= traces.errors
    assert any("-wal" in place for place in traces.found) is kept_database_url.startswith("sqlite")
    assert b"job.settled" in traces.found["the dump afterwards"]
    assert b'"job.settled"' in traces.found["the export"]
    for logger in ("nodus ", "nodus_control.api.envelope ", "sqlalchemy.engine"):
        assert logger.encode() in traces.found["the log"]


def test_the_search_would_find_them() -> None:
    """In each of the forms that they might have."""
    traces = Traces(secrets={"it": "secret ☃ value"})
    raw = "secret ☃ value".encode()
    forms = [raw, json.dumps({"a": "secret ☃ value"}).encode(), raw.hex().encode()]
    forms += [base64.b64encode(b"x" * offset + raw + b"!") for offset in range(3)]
    for number, form in enumerate(forms):
        traces.found = {str(number): b"before" + form + b"after"}
        assert traces.leaks() == [f"it in {number}"]
    traces.found = {"nothing": b"secret and value"}
    assert traces.leaks() == []
