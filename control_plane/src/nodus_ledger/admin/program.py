"""The command line: the list of commands, and how errors are reported."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from types import ModuleType

import sqlalchemy.exc

from ..database.database import UnusableDatabase
from ..database.redis_store import RedisUnavailable, UnusableRedis
from ..database.sealing import UnusableKey
from ..errors import DatabaseUnavailable
from ..keys.customers import OtherStripeCustomer
from ..keys.keys import KeyDoesNotSign, UnknownKey
from . import export, list_keys, mint, revoke, rotate, set_cap, set_stripe_customer, verify
from .exit_codes import CONFIGURATION, NOT_FOUND, OK, USAGE
from .opening import NoDatabase

COMMANDS: Sequence[ModuleType] = (
    mint,
    list_keys,
    revoke,
    rotate,
    set_cap,
    set_stripe_customer,
    verify,
    export,
)
"""Each has `add`, which declares it, and sets `run` as what it does."""


def parser() -> argparse.ArgumentParser:
    """Make the parser of the whole command line."""
    program = argparse.ArgumentParser(
        prog="python -m nodus_ledger.admin", description="Operate the database of a control plane."
    )
    commands = program.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return program


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = parser().parse_args(arguments)
    # If the terminal cannot show a name, the secret, which is shown only once, must be printed all the same.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except (NoDatabase, UnusableDatabase, UnusableKey, UnusableRedis, RedisUnavailable) as exc:
        return _fail(str(exc), CONFIGURATION)
    except DatabaseUnavailable as exc:
        return _fail(f"the database does not do it: {exc.reason}", CONFIGURATION)
    except sqlalchemy.exc.DBAPIError as exc:
        return _fail(f"the database refused: {' '.join(str(exc.orig).split())}", CONFIGURATION)
    except UnknownKey as exc:
        return _fail(f"there is no live key {exc}; `list` shows the keys", NOT_FOUND)
    except export.UnknownLog as exc:
        return _fail(f"there is no log of customer {exc}; `verify` shows the customers", NOT_FOUND)
    except BrokenPipeError:
        # The reader has gone. Nothing may be left to write when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyDoesNotSign as exc:
        return _fail(f"key {exc} has no signing secret to rotate: mint one with --signing-required", USAGE)
    except OtherStripeCustomer as exc:
        return _fail(f"{exc}; no key was made", USAGE)
    return status


def _fail(message: str, status: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return status
