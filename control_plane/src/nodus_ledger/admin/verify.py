"""`verify`: check the whole Trust Ledger, and every sum that it accounts for."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from ..verification.billing import Billing
from ..verification.verify import Report, verify
from .exit_codes import FAULTS_FOUND, OK
from .opening import add_common_options, existing_database, present


def add(commands: Any) -> None:
    """Declare the command."""
    command: argparse.ArgumentParser = commands.add_parser(
        "verify",
        help="check the Trust Ledger and every sum",
        description="Check every row, chain, tree and checkpoint of the Trust Ledger, and add up every sum again. "
        "Exit status 1 if anything is wrong; each fault is a line that names the log, the row and what is wrong. "
        "Rows whose times go back, or are ahead of now, are named too: a clock was wrong.",
    )
    add_common_options(command)
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    with existing_database(options) as database:
        report = verify(database, now=present(database))
    text = json.dumps(document(report)) if options.json else "\n".join(lines(report))
    # A tampered row may hold what no terminal can show.
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode() + "\n")
    return OK if report.is_sound else FAULTS_FOUND


def lines(report: Report) -> list[str]:
    """Return a report for people."""
    told = [f"{customer_id}: {size} rows, root {root}" for customer_id, (size, root) in report.roots.items()]
    told += [f"FAULT {fault}" for fault in report.faults]
    told += [f"NOTE {remark}" for remark in report.remarks]
    told += [line for customer_id, billing in report.billings.items() for line in _billing_lines(customer_id, billing)]
    verdict = "the ledger is sound" if report.is_sound else f"{len(report.faults)} faults"
    if report.remarks:
        verdict += f"; {len(report.remarks)} rows were written by a clock that was wrong"
    told.append(f"{report.rows} rows and {report.checkpoints} checkpoints in {len(report.roots)} logs: {verdict}")
    return told


def _billing_lines(customer_id: str, billing: Billing) -> list[str]:
    told = (
        f"{customer_id}: {billing.spent} micro-USD spent, {billing.delivered} billed, {billing.pending} to be sent, "
        f"{billing.skipped} from before metering"
    )
    return [told, *(f"DIFFERENCE {customer_id}: {each}" for each in billing.differences)]


def document(report: Report) -> dict[str, Any]:
    """Return a report for programs."""
    return {
        "ok": report.is_sound,
        "rows": report.rows,
        "checkpoints": report.checkpoints,
        "logs": [
            {"customer_id": customer_id, "size": size, "root_hash": root}
            for customer_id, (size, root) in report.roots.items()
        ],
        "faults": [
            {"customer_id": fault.customer_id, "seq": fault.seq, "fault": fault.what} for fault in report.faults
        ],
        "remarks": [
            {"customer_id": remark.customer_id, "seq": remark.seq, "remark": remark.what} for remark in report.remarks
        ],
        "billing": [
            {
                "customer_id": customer_id,
                "spent_micros": billing.spent,
                "billed_micros": billing.delivered,
                "pending_micros": billing.pending,
                "skipped_micros": billing.skipped,
                "differences": billing.differences,
            }
            for customer_id, billing in report.billings.items()
        ],
    }
