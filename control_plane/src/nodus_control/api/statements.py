"""`/v1/ledger/statement`: the rows of a month and the proof that these are all, streamed from page to page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Protocol

from starlette.responses import Response, StreamingResponse

from nodus_core.months import Month, parse_month
from nodus_ledger.keys.keys import KeyRecord
from nodus_ledger.trust.statements import Statements

from ..clock import Clock
from ..errors import ApiError
from .requests import ApiRequest, in_thread

MEDIA_TYPE = "application/x-ndjson"


class Parts(Protocol):
    """What this operation needs of a control plane."""

    clock: Clock
    statements: Statements


def get_statement(parts: Parts, call: ApiRequest, key: KeyRecord) -> Response:
    """Get the statement of a month."""
    month = _month(call.parameters.get("month"))
    statement = parts.statements.begin(key.customer_id, month, parts.clock.now())
    return StreamingResponse(
        _stream(parts.statements.written(statement)),
        # It holds what the customer spent, and is another at every call until it is final.
        headers={"Cache-Control": "no-store"},
        media_type=MEDIA_TYPE,
    )


def _month(text: str | None) -> Month:
    try:
        return parse_month(text or "")
    except ValueError as exc:
        raise ApiError(422, "invalid_query", f"`month` is not a month: {exc}.") from None


async def _stream(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (part := await in_thread(next, parts, None)) is not None:
        if part:
            yield part
