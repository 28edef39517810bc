"""`POST /v1/quotes`: what a submission would meet now. It is a question: nothing is reserved, written or sent."""

from __future__ import annotations

from typing import Any, Protocol

from starlette.responses import Response

from nodus_core.decisions import candidate_view
from nodus_core.money import usd
from nodus_core.spec import IDEMPOTENCY_KEY, is_idempotency_key, parse_spec
from nodus_core.times import timestamp
from nodus_ledger.jobs.jobs import Jobs
from nodus_ledger.jobs.quoting import Quoted
from nodus_ledger.keys.keys import KeyRecord

from ..clock import Clock
from ..errors import fitting_view, invalid_idempotency_key
from .requests import ApiRequest
from .views import to_json


class Parts(Protocol):
    """What this operation needs of a control plane."""

    clock: Clock
    jobs: Jobs


def quote(parts: Parts, call: ApiRequest, key: KeyRecord) -> Response:
    """Say what a submission of the same spec would meet."""
    content = call.json()
    own_key = content.get(IDEMPOTENCY_KEY) if isinstance(content, dict) else None
    # It means nothing here; but a submission with such a one would be refused.
    if own_key is not None and not is_idempotency_key(own_key):
        raise invalid_idempotency_key()
    now = parts.clock.now()
    quoted = parts.jobs.quote(key, parse_spec(content), now)
    return Response(to_json(_view(quoted, now, simulated=key.is_test)), media_type="application/json")


def _view(quoted: Quoted, now: int, *, simulated: bool) -> dict[str, Any]:
    offer, requirements = quoted.offer, quoted.requirements
    chosen = None
    if offer is not None:
        chosen = {"supplier": offer.supplier, "kind": offer.kind.value, "region": offer.region}
    return {
        "estimated_cost_usd": _usd(quoted.estimated),
        "retail_cost_usd": _usd(quoted.retail),
        "usd_per_gpu_hour": None if offer is None else usd(offer.micros_per_gpu_hour),
        "chosen": chosen,
        "candidates": [
            {**candidate_view(each), "estimated_cost_usd": usd(requirements.reservation(each.offer))}
            for each in quoted.admission.decision.candidates
        ],
        "fits": quoted.fits,
        "headroom_usd": _usd(quoted.headroom),
        "largest_fitting": None if quoted.largest_fitting is None else fitting_view(quoted.largest_fitting),
        "would_wait": quoted.admission.would_wait,
        "simulated": simulated,
        "at": timestamp(now),
    }


def _usd(micros: int | None) -> float | None:
    return None if micros is None else usd(micros)
