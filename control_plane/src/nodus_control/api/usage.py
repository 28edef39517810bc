"""`/v1/usage`: what the customer's jobs have cost."""

from __future__ import annotations

from typing import Any, Protocol

from starlette.responses import Response

from nodus_core.catalogue import Catalogue
from nodus_core.money import usd
from nodus_core.times import timestamp
from nodus_core.usage import InvalidQuestion, Question, read_question
from nodus_ledger.jobs.usage import Amounts, Usage
from nodus_ledger.keys.keys import KeyRecord

from ..clock import Clock
from ..errors import ApiError
from .jobs import read_labels
from .requests import ApiRequest
from .views import to_json


class Parts(Protocol):
    """What this operation needs of a control plane."""

    catalogue: Catalogue
    clock: Clock
    usage: Usage


def get_usage(parts: Parts, call: ApiRequest, key: KeyRecord) -> Response:
    """Add up the settled jobs of a span of time; those that the key itself submitted, where an agent asks."""
    question = _question(parts, call)
    only_of = key.id if key.sees_only_its_own_jobs else None
    report = parts.usage.report(key.customer_id, question, key_id=only_of)
    content = {
        "from": timestamp(question.begins_at),
        "to": timestamp(question.ends_at),
        "simulated": question.simulated,
        "groups": [
            {**dict(zip(question.group_by, group.values, strict=True)), **_view(group.amounts)}
            for group in report.groups
        ],
        "total": _view(report.total),
    }
    return Response(to_json(content), media_type="application/json")


def _question(parts: Parts, call: ApiRequest) -> Question:
    parameters = call.parameters
    try:
        # Where nothing really runs, simulated jobs are all that there are.
        return read_question(
            parameters,
            parts.clock.now(),
            simulated=not parts.catalogue.has_real,
            labels=read_labels(parameters.getlist("label")),
        )
    except InvalidQuestion as exc:
        raise ApiError(422, "invalid_query", exc.message) from None


def _view(amounts: Amounts) -> dict[str, Any]:
    """Return what some jobs come to; retail and what was saved are null where of none of them retail is known."""
    is_priced = amounts.priced > 0 or not amounts.jobs
    return {
        "jobs": amounts.jobs,
        "gpu_seconds": amounts.gpu_ms / 1000,
        "cost_usd": usd(amounts.cost),
        "retail_cost_usd": usd(amounts.retail) if is_priced else None,
        "saved_usd": usd(amounts.saved) if is_priced else None,
    }
