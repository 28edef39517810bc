"""`/v1/offers`: the price list."""

from __future__ import annotations

import time
from typing import Any, Protocol

from starlette.responses import Response

from nodus_core.catalogue import Catalogue, Offer
from nodus_core.money import usd
from nodus_ledger.jobs.availability import Availability
from nodus_ledger.keys.keys import KeyRecord, PrincipalKind

from .requests import ApiRequest
from .views import to_json


class Parts(Protocol):
    """What this operation needs of a control plane."""

    catalogue: Catalogue
    availability: Availability


def list_offers(parts: Parts, call: ApiRequest, key: KeyRecord) -> Response:
    """List what the suppliers that this key may use offer: by GPU, the cheapest first."""
    catalogue = parts.catalogue
    wanted = call.parameters.get("gpu")
    gpus = catalogue.gpus_for(simulated=key.is_test) if wanted is None else (wanted,)
    offers = [
        offer
        for gpu in gpus
        for offer in sorted(
            catalogue.offers_for(gpu, simulated=key.is_test),
            key=lambda each: (each.micros_per_gpu_hour, each.location),
        )
    ]
    stand = parts.availability.now(key.customer_id, gpus, real_now=int(time.time() * 1000))
    views = []
    for offer in offers:
        free = stand.free.get((offer.supplier, offer.gpu))
        views.append(
            {
                **_view(offer),
                # An agent sees whether something is free, not how much others have there.
                "free_gpus": None if key.principal_kind == PrincipalKind.AGENT.value else free,
                "available": offer.supplier not in stand.closed and free != 0,
                "simulated": offer.simulated,
            }
        )
    return Response(to_json({"offers": views}), media_type="application/json")


def _view(offer: Offer) -> dict[str, Any]:
    return {
        "supplier": offer.supplier,
        "kind": offer.kind.value,
        "region": offer.region,
        "gpu": offer.gpu,
        "usd_per_gpu_hour": usd(offer.micros_per_gpu_hour),
    }
