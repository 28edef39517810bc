"""Shows quotes, and what a submission would send."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .._money import dollars
from .output import Output, show_facts

if TYPE_CHECKING:
    from .._async.client import AsyncClient
    from .._errors import LargestFitting
    from .._resources import Quote

HIDDEN = "[hidden]"


def show_quote(output: Output, quote: Quote, *, as_json: bool) -> None:
    """Write a quote to stdout."""
    if as_json:
        output.json_text(quote.model_dump_json())
    else:
        show_facts(output, _facts(quote))


async def show_dry_run(output: Output, client: AsyncClient, fields: Mapping[str, Any], *, as_json: bool) -> None:
    """Write to stdout what `run` would send, and the quote for it. Values of `env` and the API key are hidden.

    Raises:
        NodusError: see `AsyncClient.quote`; what would be sent has been written by then, but for programs.
    """
    from .. import _calls
    from .._models import JobSpec

    call = _calls.submit_job(JobSpec(**fields))
    body = without_secrets(json.loads(call.body))
    headers = {
        "Authorization": f"Bearer {HIDDEN}",
        "Content-Type": "application/json",
        "Idempotency-Key": call.idempotency_key,
    }
    if as_json:
        quote = await client.quote(**fields)
        request = {"method": call.method, "path": call.path, "headers": headers, "body": body}
        shown_spec = {name: value for name, value in body.items() if name != "idempotency_key"}
        output.json({"spec": shown_spec, "request": request, "quote": quote.model_dump(mode="json")})
        return
    output.data(f"{call.method} {call.path}")
    for name, value in headers.items():
        output.data(f"{name}: {value}")
    output.data("")
    for line in json.dumps(body, indent=2).splitlines():
        output.data(line)
    output.data("")
    show_quote(output, await client.quote(**fields), as_json=False)
    output.note("Nothing was submitted.")


def without_secrets(body: Mapping[str, Any], shown: Collection[str] = ()) -> dict[str, Any]:
    """Return a job's fields with the values of variables hidden.

    Args:
        body: the fields.
        shown: variables whose values are no secrets.
    """
    variables = body.get("env")
    if not variables:
        return dict(body)
    return {**body, "env": {name: text if name in shown else HIDDEN for name, text in variables.items()}}


def _facts(quote: Quote) -> Iterator[tuple[str, str | None]]:
    chosen = quote.chosen
    place = None if chosen is None else " ".join(filter(None, (chosen.supplier, chosen.region)))
    yield "fits", "yes" if quote.fits else "no"
    yield "supplier", place or "none: all that offer this are out"
    if quote.would_wait:
        yield "starts", "when there is room: all that could take it are full now"
    for name, amount in (
        ("at most", quote.estimated_cost_usd),
        ("per GPU-hour", quote.usd_per_gpu_hour),
        ("at retail", quote.retail_cost_usd),
        ("headroom", quote.headroom_usd),
    ):
        yield name, None if amount is None else dollars(amount)
    if quote.largest_fitting is not None:
        yield "would fit", options_that_fit(quote.largest_fitting) or "nothing"
    if quote.simulated:
        yield "simulated", "yes"


def options_that_fit(fitting: LargestFitting) -> str:
    """Name the options of `run` that would make the job fit; empty where nothing would."""
    alone = (
        *_named("--max-runtime-seconds", fitting.max_runtime_seconds),
        *_named("--gpu-count", fitting.gpu_count),
    )
    if alone or fitting.both is None:
        return " or ".join(alone)
    return f"--gpu-count {fitting.both.gpu_count} --max-runtime-seconds {fitting.both.max_runtime_seconds}"


def _named(option: str, value: int | None) -> tuple[str, ...]:
    return () if value is None else (f"{option} {value}",)
