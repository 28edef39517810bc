"""The logger `nodus`, and the environment variable `NODUS_LOG` that turns it on."""

from __future__ import annotations

import logging
import os

logger = logging.getLogger("nodus")
logger.addHandler(logging.NullHandler())

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO}


def set_up_from_environment() -> None:
    """Print the library's log on stderr if `NODUS_LOG` is `info` or `debug`; otherwise change nothing."""
    level = _LEVELS.get(os.environ.get("NODUS_LOG", "").strip().lower())
    if level is None or any(isinstance(handler, _EnvironmentHandler) for handler in logger.handlers):
        return
    handler = _EnvironmentHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(level)


class _EnvironmentHandler(logging.StreamHandler):  # type: ignore[type-arg]  # generic for checkers alone
    """The handler that `NODUS_LOG` asked for; its own class, so that it is added once."""
