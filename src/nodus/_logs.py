"""The logger `nodus`, and the environment variable `NODUS_LOG` that turns it on.

Messages quote servers. A record whose message holds a character that is not printable is rewritten with escapes, before
any handler sees it: a line break would begin what looks like another entry.
"""

from __future__ import annotations

import logging
import os
import sys

from ._printable import printable

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class _PrintableMessages(logging.Filter):
    """Lets every record pass, with a message of one line that no terminal obeys."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if not message.isprintable():
            record.msg, record.args = printable(message), None
        return True


class _EnvironmentHandler(logging.StreamHandler):  # type: ignore[type-arg]  # generic for checkers alone
    """The handler that `NODUS_LOG` asked for; its own class, so that it is added once."""

    def emit(self, record: logging.LogRecord) -> None:
        """Leave to the program's own handlers what they show on the terminal, so that nothing is printed twice."""
        if not (logger.propagate and any(_shows(handler, record) for handler in logging.getLogger().handlers)):
            super().emit(record)


def set_up_from_environment() -> None:
    """Print the library's log on stderr from the level that `NODUS_LOG` names; change nothing if it is not set.

    A value that is no level counts as `warning`, and the first line says so.
    """
    wanted = os.environ.get("NODUS_LOG", "").strip()
    if not wanted or any(isinstance(handler, _EnvironmentHandler) for handler in logger.handlers):
        return
    level = LEVELS.get(wanted.lower())
    handler = _EnvironmentHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if level is None else level)
    if level is None:
        logger.warning("NODUS_LOG=%.32s is not a level: use %s", ascii(wanted), ", ".join(LEVELS))


def _shows(handler: logging.Handler, record: logging.LogRecord) -> bool:
    """Whether a handler prints a record on stderr or stdout."""
    stream = getattr(handler, "stream", None)
    return record.levelno >= handler.level and stream is not None and stream in (sys.stderr, sys.stdout)


logger = logging.getLogger("nodus")
logger.addHandler(logging.NullHandler())
logger.addFilter(_PrintableMessages())
