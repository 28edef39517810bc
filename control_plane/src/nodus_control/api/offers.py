"""`/v1/offers`: the price list."""

from __future__ import annotations

from typing import Any, Protocol

from starlette.responses import Response

from nodus_core.catalogue import Catalogue, Offer
from nodus_core.money import usd
from nodus_ledger.jobs.gpus_in_use import GpusInUse
from nodus_ledger.jobs.outages import Outages
from nodus_ledger.keys.keys import KeyRecord, PrincipalKind

from .requests import ApiRequest
from .views import to_json


class Parts(Protocol):
    """What this operation needs of a control plane."""

    catalogue: Catalogue
    outages: Outages
    gpus_in_use: GpusInUse


def list_offers(parts: Parts, call: ApiRequest, key: KeyRecord) -> Response:
    """List what the suppliers that this key may use offer: by GPU, the cheapest first."""
    catalogue = parts.catalogue
    wanted = call.parameters.get("gpu")
    gpus = catalogue.gpus if wanted is None else (wanted,)
    offers = [
        offer
        for gpu in gpus
        for offer in sorted(catalogue.offers(gpu), key=lambda each: (each.micros_per_gpu_hour, each.location))
        if catalogue.suppliers[offer.supplier].is_simulated is key.is_test
    ]
    is_counted = any(catalogue.suppliers[offer.supplier].gpus is not None for offer in offers)
    in_use = parts.gpus_in_use.by_supplier() if is_counted else {}
    out = parts.outages.names()
    views = []
    for offer in offers:
        entry = catalogue.suppliers[offer.supplier]
        held = in_use.get((offer.supplier, offer.gpu), 0)
        free = None if entry.gpus is None else max(0, entry.gpus[offer.gpu] - held)
        views.append(
            {
                **_view(offer),
                # An agent sees whether something is free, not how much others have there.
                "free_gpus": None if key.principal_kind == PrincipalKind.AGENT.value else free,
                "available": offer.supplier not in out and free != 0,
                "simulated": entry.is_simulated,
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
