"""`nodus offers`: the price list."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncclick

from ..._money import plain
from ..._printable import printable
from .. import exit_codes
from ..invocation import Invocation
from ..options import json_option
from ..output import aligned

if TYPE_CHECKING:
    from ..._resources import Offer

_COLUMNS = ("GPU", "SUPPLIER", "KIND", "REGION", "USD/GPU-HOUR", "FREE", "AVAILABLE", "SIMULATED")
_DROPPABLE = ("KIND", "FREE")


@asyncclick.command("offers")
@asyncclick.option("--gpu", metavar="MODEL", help="List only offers of this GPU model.")
@json_option
@asyncclick.pass_obj
async def offers_command(invocation: Invocation, /, gpu: str | None, as_json: bool) -> int:
    """List what suppliers offer, and at what price.

    By GPU model, the cheapest first: what the suppliers that this key may use have. Into a pipe, the columns are
    separated by tabs: GPU, supplier, kind, region, US dollars per GPU and hour, free GPUs, available, simulated. With
    --json, each line is an offer.
    """
    async with invocation.client() as client:
        offers = await client.offers(gpu=gpu)
    output = invocation.output
    if as_json:
        for offer in offers:
            output.json_text(offer.model_dump_json())
    elif output.is_terminal and offers:
        rows = [[printable(cell) or "-" for cell in _cells(offer)] for offer in offers]
        for line in aligned(_COLUMNS, rows, width=output.width, droppable=_DROPPABLE):
            output.data(line)
    else:
        for offer in offers:
            output.row(_cells(offer))
    if not offers:
        output.note("No offers.")
    return exit_codes.OK


def _cells(offer: Offer) -> tuple[str, ...]:
    return (
        "" if offer.gpu is None else offer.gpu.value,
        offer.supplier,
        "" if offer.kind is None else offer.kind.value,
        offer.region or "",
        "" if offer.usd_per_gpu_hour is None else plain(offer.usd_per_gpu_hour),
        "" if offer.free_gpus is None else str(offer.free_gpus),
        _answer(offer.available),
        _answer(offer.simulated),
    )


def _answer(fact: bool | None) -> str:
    return "" if fact is None else "yes" if fact else "no"
