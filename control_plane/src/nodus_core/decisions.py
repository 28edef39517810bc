"""A placement decision as data, whole enough that anybody can decide again, and its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from .canonical_json import canonical_json
from .money import usd
from .routing import Candidate, Decision, Location, Requirements


def decision_document(decision: Decision, gpu: str, catalogue_sha256: str) -> dict[str, Any]:
    """Return a decision in the form of `GET /v1/jobs/{id}/routing`, but for the number of the attempt.

    `decision_sha256` is the SHA-256 of the canonical JSON (RFC 8785) of all the other members.
    """
    candidates = [candidate_view(each) for each in decision.candidates]
    document = {
        "catalogue_sha256": catalogue_sha256,
        "candidates": candidates,
        "chosen": candidates[0] if decision.chosen is not None else None,
        "requirements": _requirements(decision.requirements, gpu),
    }
    return {"decision_sha256": hashlib.sha256(canonical_json(_exact(document)).encode()).hexdigest(), **document}


def candidate_view(candidate: Candidate) -> dict[str, Any]:
    """Return an offer as the router judged it."""
    offer = candidate.offer
    return {
        "supplier": offer.supplier,
        "kind": offer.kind.value,
        "region": offer.region,
        "usd_per_gpu_hour": usd(offer.micros_per_gpu_hour),
        "micros_per_gpu_hour": offer.micros_per_gpu_hour,
        "gpus": offer.gpus,
        "score": candidate.score,
        "rejected": candidate.rejected,
        "has_room": candidate.has_room,
        "simulated": offer.simulated,
    }


def _requirements(requirements: Requirements, gpu: str) -> dict[str, Any]:
    return {
        "gpu": gpu,
        "gpu_count": requirements.gpu_count,
        "max_runtime_seconds": requirements.max_runtime_seconds,
        "require_tiers": list(requirements.require_tiers),
        "prefer_region": requirements.prefer_region,
        "max_cost_micros": requirements.max_cost_micros,
        "headroom_micros": requirements.headroom_micros,
        "cannot_run": sorted(requirements.cannot_run),
        "outages": sorted(requirements.outages),
        "drained": sorted(requirements.drained),
        "unreachable": sorted(requirements.unreachable),
        "lost": _places(requirements.lost),
        "lost_before": _places(requirements.lost_before),
        "refused": _places(requirements.refused | requirements.resting),
    }


def _places(places: Iterable[Location]) -> list[list[str]]:
    return [list(place) for place in sorted(places)]


def _exact(value: Any) -> Any:
    """Turn the fractions in a document into what they say in their shortest text."""
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, dict):
        return {name: _exact(each) for name, each in value.items()}
    return [_exact(each) for each in value] if isinstance(value, list) else value
