"""The logger `nodus`, and the environment variable `NODUS_LOG` that turns it on.

Messages quote servers. A record whose message holds a character that is not printable is rewritten with escapes, before
any handler sees it: a line break would begin what looks like another entry.
"""

from __future__ import annotations

import logging
import os

from ._printable import printable

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO}


class _PrintableMessages(logging.Filter):
    """Lets every record pass, with a message of one line that no terminal obeys."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if not message.isprintable():
            record.msg, record.args = printable(message), None
        return True


class _EnvironmentHandler(logging.StreamHandler):  # type: ignore[type-arg]  # generic for checkers alone
    """The handler that `NODUS_LOG` asked for; its own class, so that it is added once."""


def set_up_from_environment() -> None:
    """Print the library's log on stderr if `NODUS_LOG` is `info` or `debug`; otherwise change nothing."""
    level = _LEVELS.get(os.environ.get("NODUS_LOG", "").strip().lower())
    if level is None or any(isinstance(handler, _EnvironmentHandler) for handler in logger.handlers):
        return
    handler = _EnvironmentHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(level)


logger = logging.getLogger("nodus")
logger.addHandler(logging.NullHandler())
logger.addFilter(_PrintableMessages())
