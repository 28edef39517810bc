"""A stranger's program: decides placements again, from answers about routing and rows of the ledger alone.

It imports nothing of Nodus. `check(answer, row)` takes an answer of `GET /v1/jobs/{id}/routing?attempt=`, and the
payload of the `attempt.opened` row, and returns what is wrong.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical(value: Any) -> str:
    """RFC 8785, for what is in an answer: ASCII keys, and fractions of at most six decimals."""
    if isinstance(value, float):
        return str(int(value)) if value == int(value) else f"{value:.6f}".rstrip("0")
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{canonical(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def reserved(offer: dict[str, Any], asked: dict[str, Any]) -> int:
    """The whole runtime, rounded up, or the ceiling."""
    whole = -(-offer["micros_per_gpu_hour"] * asked["gpu_count"] * asked["max_runtime_seconds"] // 3600)
    return whole if asked["max_cost_micros"] is None else min(whole, asked["max_cost_micros"])


def rejection(offer: dict[str, Any], asked: dict[str, Any], *, may_return: bool) -> str | None:
    """The first that holds."""
    name, place = offer["supplier"], [offer["supplier"], offer["region"]]
    minute = (offer["micros_per_gpu_hour"] * asked["gpu_count"] + 30) // 60  # rounded half up
    ceiling, headroom = asked["max_cost_micros"], asked["headroom_micros"]
    reasons = {
        "tier_not_allowed": bool(asked["require_tiers"]) and offer["kind"] not in asked["require_tiers"],
        "too_few_gpus": offer["gpus"] is not None and offer["gpus"] < asked["gpu_count"],
        "cannot_run": name in asked["cannot_run"],
        "outage": name in asked["outages"],
        "drained": name in asked["drained"],
        "unreachable": name in asked["unreachable"],
        "already_lost": place in asked["lost"] or (not may_return and place in asked["lost_before"]),
        "no_capacity": place in asked["refused"],
        "over_max_cost": ceiling is not None and minute > ceiling,
        "over_budget": headroom is not None and reserved(offer, asked) > headroom,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def check(answer: dict[str, Any], row: dict[str, Any]) -> list[str]:
    """Decide again, and hold the row against that."""
    asked, offers = answer["requirements"], answer["candidates"]
    judged = [rejection(offer, asked, may_return=False) for offer in offers]
    waits = {None, "over_budget", "drained", "unreachable", "no_capacity"}
    if asked["lost_before"] and not waits.intersection(judged):
        judged = [rejection(offer, asked, may_return=True) for offer in offers]
    faults = [f"{each['supplier']}: {why}" for each, why in zip(offers, judged, strict=True) if each["rejected"] != why]
    rates = [
        offer["micros_per_gpu_hour"]
        for offer, why in zip(offers, judged, strict=True)
        if why not in ("tier_not_allowed", "too_few_gpus")
    ]

    def order(offer: dict[str, Any]) -> tuple[float, int, str, str]:
        rate, wish = offer["micros_per_gpu_hour"], (asked["prefer_region"] or "").casefold()
        near = bool(wish) and f"{offer['region'].casefold()}-".startswith(f"{wish}-")
        score = round((min(rates) / rate if rate else 1.0) * (1.1 if near else 1.0), 6)
        return -score, rate, offer["supplier"], offer["region"]

    free = [each for each, why in zip(offers, judged, strict=True) if why is None and each["has_room"]]
    chosen = min(free, key=order)
    document = {name: answer[name] for name in ("catalogue_sha256", "candidates", "chosen", "requirements")}
    if hashlib.sha256(canonical(document).encode()).hexdigest() != row["decision_sha256"]:
        faults.append("the answer is not what the ledger's hash is of")
    where = (row["supplier"], row["region"], row["micros_per_gpu_hour"])
    if where != (chosen["supplier"], chosen["region"], chosen["micros_per_gpu_hour"]):
        faults.append(f"it went to {where}, and should have gone to {chosen['supplier']}")
    if row["reserved_micros"] != reserved(chosen, asked):
        faults.append(f"{row['reserved_micros']} were reserved, and should have been {reserved(chosen, asked)}")
    return faults
