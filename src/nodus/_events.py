"""Webhook deliveries as typed events: verified, then read. Standard library only.

The envelope is `{"id", "type", "created_at", "data"}`. Newer servers may send more in `data`, and older ones less:
fields without an attribute below stay in `.data`, and attributes that a delivery lacks read as None.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING

from ._enums import PrincipalKind
from ._errors import SignatureError, ValidationError
from ._signing import TOLERANCE_SECONDS, Signature, is_signable, mac_matches, parse_signature

if TYPE_CHECKING:
    from ._replay import ReplayGuard


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEvent:
    """What every event has.

    Attributes:
        id: `evt_…`, the same on every attempt to deliver the event: remember it, to handle each event once. Empty if
            the sender gave none.
        type: such as `"job.completed"`.
        created_at: when it happened; None if the sender did not say.
        data: the event's payload as received, including fields that this version has no attribute for.
        job_id: the job that it is about, or None.
        name: the name of the job that it is about; None if that has none.
        labels: the labels of the job that it is about; empty if that has none.
        principal_kind: kind of principal whose key it concerns, or None.
        simulated: True if the job's supplier is simulated, so that nothing ran and nothing was charged; None if the
            event is not about a job, or an older server does not say.
    """

    id: str = ""
    type: str = ""
    created_at: datetime | None = None
    data: Mapping[str, object] = field(default_factory=dict, hash=False)
    job_id: str | None = None
    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    principal_kind: PrincipalKind | None = None
    simulated: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPlaced(WebhookEvent):
    """`job.placed`: the API accepted a submission and queued it.

    Attributes:
        estimated_cost_usd: what was reserved for it at submission, in US dollars: the most that it can cost where it
            was expected to go. A later placement may reserve more or less.
    """

    estimated_cost_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCompleted(WebhookEvent):
    """`job.completed`: the job completed successfully.

    Attributes:
        cost_usd: what it cost, in US dollars.
        supplier: name of the supplier that ran it.
        region: where it ran.
        duration_s: how long it ran, in seconds.
    """

    cost_usd: float | None = None
    supplier: str | None = None
    region: str | None = None
    duration_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFailed(WebhookEvent):
    """`job.failed`: the job failed for good, all retries and failovers exhausted.

    Attributes:
        error_code: stable identifier of the failure.
        error_message: what went wrong.
        last_supplier: name of the supplier that had it last.
    """

    error_code: str | None = None
    error_message: str | None = None
    last_supplier: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCancelled(WebhookEvent):
    """`job.cancelled`: the job was cancelled.

    Attributes:
        cost_usd: what it cost until then, in US dollars.
        supplier: name of the supplier that had it; None if it was never placed.
        region: where it was; None if it was never placed.
    """

    cost_usd: float | None = None
    supplier: str | None = None
    region: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetThresholdReached(WebhookEvent):
    """`budget.threshold_reached`: a key's month-to-date spend crossed a fraction of its cap.

    Attributes:
        key_id: the key.
        month_to_date_usd: realised spend plus what is reserved for jobs in flight, in US dollars.
        monthly_spend_cap_usd: the key's cap, in US dollars.
        fraction: the fraction that was crossed, such as 0.8.
    """

    key_id: str | None = None
    month_to_date_usd: float | None = None
    monthly_spend_cap_usd: float | None = None
    fraction: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetExceeded(WebhookEvent):
    """`budget.exceeded`: a key's monthly cap refused a submission, or a job that was accepted begins to wait for it.

    Attributes:
        key_id: the key.
        month_to_date_usd: realised spend plus what is reserved for jobs in flight, in US dollars.
        monthly_spend_cap_usd: the key's cap, in US dollars.
        estimated_cost_usd: what would have had to be reserved at least, in US dollars.
    """

    key_id: str | None = None
    month_to_date_usd: float | None = None
    monthly_spend_cap_usd: float | None = None
    estimated_cost_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownEvent(WebhookEvent):
    """An event of a type that this version does not know. Answer it with a 2xx, or it will be delivered again."""


_KIND_OF_TYPE: dict[str, type[WebhookEvent]] = {
    "job.placed": JobPlaced,
    "job.completed": JobCompleted,
    "job.failed": JobFailed,
    "job.cancelled": JobCancelled,
    "budget.threshold_reached": BudgetThresholdReached,
    "budget.exceeded": BudgetExceeded,
}

EVENT_TYPES = tuple(_KIND_OF_TYPE)
"""The event types that an endpoint can subscribe to."""

_ENVELOPE = frozenset(("id", "type", "created_at", "data"))


def construct_event(
    *,
    body: bytes,
    signature_header: str | None,
    signing_secret: str | Iterable[str],
    method: str = "POST",
    path: str,
    tolerance_seconds: float = TOLERANCE_SECONDS,
    now: float | None = None,
    replay_guard: ReplayGuard | None = None,
) -> WebhookEvent:
    """Verify a webhook delivery and read its event.

    With a `replay_guard`, a delivery that was accepted once is refused the second time. A retry by the sender is not a
    replay: it is signed anew, so an event whose handling failed is accepted when it is delivered again, under the
    same `id`. Events may arrive more than once; handle each `id` once.

    Args:
        body: the raw request body, before any parsing.
        signature_header: the value of the `Nodus-Signature` header, or None if there is none.
        signing_secret: the endpoint's `whsec_…` secret; several while one is being rotated.
        method: the HTTP method of the delivery.
        path: the path of the URL that was registered, percent-encoded and without a query. Undo what a reverse proxy
            does to it: add a prefix that it strips, strip one that it adds.
        tolerance_seconds: how far the signature's time may lie from now, in seconds, in either direction.
        now: the time to verify at, in Unix seconds; the current time by default.
        replay_guard: remembers deliveries for twice the tolerance, such as an `InMemoryReplayGuard`.

    Returns:
        One of `JobPlaced`, `JobCompleted`, `JobFailed`, `JobCancelled`, `BudgetThresholdReached`, `BudgetExceeded`;
        `UnknownEvent` for a type that this version does not know.

    Raises:
        SignatureError: answer 401. Codes: `signature_missing`, `signature_malformed`, `signature_invalid`; and, only if
            the MAC is right, `signature_stale`, `signature_future`, `signature_replayed`.
        ValidationError: (`invalid_event`) the delivery is genuine, but its body is not an event: not a JSON object
            with a `type`. Nobody without the secret can cause this.
        TypeError: `body` is not bytes: the signature covers the raw body, not what was parsed from it.
    """
    if not isinstance(body, (bytes, bytearray, memoryview)):
        raise TypeError(f"pass the raw request body as bytes, not {type(body).__name__}: what was parsed is not signed")
    raw = bytes(body)
    present = time.time() if now is None else now
    signature = _read_header(signature_header)
    if not is_signable(method, path) or not mac_matches(signature, signing_secret, method, path, raw):
        raise SignatureError(
            "The signature does not match this body and path under this secret: check the secret, pass the body "
            "untouched, and pass the path of the registered URL.",
            code="signature_invalid",
        )
    _check_time(int(signature.timestamp), present, tolerance_seconds)
    event = _read_event(raw)
    if replay_guard is not None:
        delivery = _fingerprint(signature.timestamp, method, path, raw)
        if not replay_guard.is_first(delivery, now=present, keep_seconds=2 * tolerance_seconds):
            raise SignatureError(
                f"The delivery of event {event.id or '(without id)'} was accepted before: these are the same bytes, "
                "signed at the same time.",
                code="signature_replayed",
            )
    return event


def _read_header(header: str | None) -> Signature:
    if header is None or header == "":
        raise SignatureError("The delivery has no Nodus-Signature header.", code="signature_missing")
    signature = parse_signature(header)
    if signature is None:
        raise SignatureError(
            "The Nodus-Signature header is malformed: it should read v1=<64 hex digits>,ts=<Unix seconds>.",
            code="signature_malformed",
        )
    return signature


def _check_time(timestamp: int, now: float, tolerance_seconds: float) -> None:
    age = now - timestamp
    if age > tolerance_seconds:
        raise SignatureError(
            f"The signature is {age:.0f} s old, and only {tolerance_seconds:g} s are tolerated: it is a replay, or a "
            "clock is wrong.",
            code="signature_stale",
        )
    if -age > tolerance_seconds:
        raise SignatureError(
            f"The signature's time is {-age:.0f} s ahead, and only {tolerance_seconds:g} s are tolerated: a clock "
            "is wrong.",
            code="signature_future",
        )


def _fingerprint(timestamp: str, method: str, path: str, body: bytes) -> str:
    """Identify a delivery by what is signed, rather than by its MAC, of which there may be several."""
    signed = f"{timestamp}.{method.upper()}.{path}.{hashlib.sha256(body).hexdigest()}"
    return hashlib.sha256(signed.encode()).hexdigest()


def _read_event(body: bytes) -> WebhookEvent:
    try:
        envelope = json.loads(body.decode())
    except (ValueError, RecursionError):
        envelope = None
    kind = envelope.get("type") if isinstance(envelope, dict) else None
    if not isinstance(envelope, dict) or not isinstance(kind, str):
        raise ValidationError(
            "The delivery is genuine, but its body is not a JSON object with a `type`.", code="invalid_event"
        )
    given = envelope.get("data")
    data: dict[str, object] = given if isinstance(given, dict) else {}
    made = _KIND_OF_TYPE.get(kind, UnknownEvent)
    extras = {
        known.name: _READERS[str(known.type)](data.get(known.name))
        for known in fields(made)
        if known.name not in _ENVELOPE
    }
    return made(
        id=_text(envelope.get("id")) or "",
        type=kind,
        created_at=_time(envelope.get("created_at")),
        data=data,
        **extras,  # type: ignore[arg-type]  # each was read as its field's annotation says
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> float | None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _time(value: object) -> datetime | None:
    """Read RFC 3339. In Python 3.10, `fromisoformat` knows no `Z`, and fractions of three or six digits only."""
    if not isinstance(value, str):
        return None
    text = value.removesuffix("Z") + "+00:00" if value.endswith("Z") else value
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _labels(value: object) -> Mapping[str, str]:
    given = value if isinstance(value, dict) else {}
    return {key: labelled for key, labelled in given.items() if isinstance(labelled, str)}


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _principal(value: object) -> PrincipalKind | None:
    return PrincipalKind(value) if isinstance(value, str) else None


_READERS = {
    "str | None": _text,
    "float | None": _number,
    "bool | None": _flag,
    "Mapping[str, str]": _labels,
    "PrincipalKind | None": _principal,
}
