"""`export`: write a customer's Trust Ledger as NDJSON, a row a line, as `GET /v1/ledger` gives them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from sqlalchemy import select

from ..database.database import Database
from ..database.trust_schema import heads
from ..trust.entry_view import entry_view
from ..trust.reader import read_entries
from .exit_codes import OK
from .opening import NoDatabase, add_common_options, existing_database

_PAGE = 1000


class UnknownLog(Exception):
    """There is no log of this customer."""


def add(commands: Any) -> None:
    """Declare the command."""
    command: argparse.ArgumentParser = commands.add_parser(
        "export",
        help="write a customer's Trust Ledger as NDJSON",
        description="Write a customer's Trust Ledger to standard output, a row a line, in its order. "
        "`nodus.verify_ledger` takes the lines as they are.",
    )
    add_common_options(command)
    command.add_argument("--customer-id", metavar="ID", help="the customer; may be omitted if there is only one log")
    command.add_argument("--after", type=int, default=0, metavar="SEQ", help="only rows above this seq")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    with existing_database(options) as database:
        customer_id = options.customer_id or _only_customer(database)
        if not _has_log(database, customer_id):
            raise UnknownLog(customer_id)
        for line in lines(database, customer_id, options.after):
            sys.stdout.write(line + "\n")
    return OK


def lines(database: Database, customer_id: str, after: int = 0) -> Iterator[str]:
    """Return the rows of a customer's log, a JSON object each, as long as there are more."""
    while True:
        with database.read() as connection:
            page = read_entries(connection, customer_id, job_id=None, after=after, limit=_PAGE)
        for entry in page.entries:
            yield json.dumps(entry_view(entry), separators=(",", ":"))
        if page.next_after is None:
            return
        after = page.next_after


def _has_log(database: Database, customer_id: str) -> bool:
    with database.read() as connection:
        return bool(read_entries(connection, customer_id, job_id=None, after=0, limit=1).entries)


def _only_customer(database: Database) -> str:
    with database.read() as connection:
        customers: list[str] = list(connection.execute(select(heads.c.customer_id).limit(2)).scalars())
    if len(customers) != 1:
        raise NoDatabase("the database does not hold exactly one log: say whose with --customer-id")
    return customers[0]
