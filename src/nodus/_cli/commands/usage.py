"""`nodus usage`: what jobs have cost."""

from __future__ import annotations

import asyncclick

from ..._money import dollars
from .. import exit_codes
from ..invocation import Invocation
from ..options import json_option, label_option, read_labels
from ..output import show_facts
from ..usage import as_csv, row, span, table


@asyncclick.command("usage")
@asyncclick.option("--month", metavar="YYYY-MM", help="Jobs that ended in this month (UTC); by default, in this one.")
@asyncclick.option("--from", "from_", metavar="TIME", help="Jobs that ended then or later: a date (UTC) or RFC 3339.")
@asyncclick.option("--to", metavar="TIME", help="Jobs that ended before: likewise.")
@asyncclick.option(
    "--by",
    multiple=True,
    metavar="WHAT",
    help="Group by principal_kind, key, supplier, kind, region, gpu, status, day, month or label:KEY; by several with "
    "commas, or repeated.",
)
@label_option
@asyncclick.option(
    "--simulated",
    is_flag=True,
    help="Simulated jobs, which are never added to others. By default, only where all suppliers are simulated.",
)
@asyncclick.option(
    "--csv", "as_csv_", is_flag=True, help="Print CSV, for spreadsheets: no cell is taken for a formula."
)
@asyncclick.option("--focus", is_flag=True, help="Print CSV with the columns of FOCUS 1.4, by day unless by month.")
@json_option
@asyncclick.pass_obj
async def usage_command(
    invocation: Invocation,
    /,
    month: str | None,
    from_: str | None,
    to: str | None,
    by: tuple[str, ...],
    labels: tuple[str, ...],
    simulated: bool,
    as_csv_: bool,
    focus: bool,
    as_json: bool,
) -> int:
    """Show what jobs have cost.

    Jobs count by the time at which they ended. On a terminal this is a table whose rows add up to the last. Otherwise
    the columns are separated by tabs, without a header and without a total: what was grouped by, jobs, GPU-seconds,
    cost, retail cost, savings (US dollars), simulated. With --json, it is one object.

    An agent's key sees its own jobs only. --focus is for tools that read the FinOps Open Cost and Usage Specification;
    by default it groups by day, supplier, region and gpu.
    """
    if as_csv_ + focus + as_json > 1:
        raise asyncclick.UsageError("--csv, --focus and --json exclude each other.")
    if month is not None and (from_ is not None or to is not None):
        raise asyncclick.UsageError("--month and --from or --to exclude each other.")
    asked = tuple(dict.fromkeys(name for text in by for name in text.split(",") if name))
    wanted = read_labels(labels, without_value=None)
    if focus:
        from ..focus import grouping

        asked = grouping(asked)
    account = ""
    async with invocation.client() as client:
        usage = await client.usage(
            month=month, from_=from_, to=to, group_by=asked, labels=wanted, simulated=simulated or None
        )
        if focus:
            # The name of the customer's own log is what tells its account from those of others, here and elsewhere.
            account = (await client.ledger.key()).origin
    output = invocation.output
    if as_json:
        output.json_text(usage.model_dump_json(by_alias=True, exclude_unset=True))
    elif focus:
        from ..focus import as_focus

        output.lines(as_focus(usage, account=account))
    elif as_csv_:
        output.lines(as_csv(usage, asked))
    elif not output.is_terminal:
        for group in usage.groups:
            output.row(row(group, asked, simulated=usage.simulated))
    else:
        total = usage.total
        output.data(span(usage))
        if asked:
            for line in table(usage, asked, width=output.width):
                output.data(line)
        else:
            show_facts(
                output,
                [
                    ("jobs", f"{total.jobs:,}"),
                    ("GPU-seconds", f"{total.gpu_seconds:,.3f}"),
                    ("cost", dollars(total.cost_usd)),
                    ("vs retail", None if total.retail_cost_usd is None else dollars(total.retail_cost_usd)),
                    ("you saved", None if total.saved_usd is None else dollars(total.saved_usd)),
                ],
            )
        if usage.simulated:
            output.data("simulated: nothing was charged")
    if not usage.groups:
        output.note("No jobs ended in that time.")
    return exit_codes.OK
