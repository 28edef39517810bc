"""Answers of the server other than jobs: events, routing, offers, the calling key, webhooks, the Trust Ledger.

All are frozen; fields that this version does not know are ignored.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ._enums import GpuType, JobStatus, PrincipalKind, SupplierKind
from ._errors import LargestFitting
from ._models import JobView


class _Resource(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, allow_inf_nan=False
    )


class JobEvent(_Resource):
    """One transition of a job.

    Attributes:
        seq: the number of this transition among those of its job, counting from 1.
        job_id: the job.
        status: the job's new status.
        at: when the transition happened.
        attempt: number of placements so far.
        supplier: where the job was placed, or, when it is queued again, where it was lost; None before placement.
        region: the region there.
        reason: why it happened, if there is more to say: what the supplier reported, or the error's code.
        simulated: True if the job's supplier is simulated; None if an older server does not say.
        id: where to resume a stream, as `after=`; None if the event was found by polling.
    """

    seq: int
    job_id: str
    status: JobStatus
    at: datetime | None = None
    attempt: int | None = None
    supplier: str | None = None
    region: str | None = None
    reason: str | None = None
    simulated: bool | None = None
    id: str | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether it is the job's last transition."""
        return self.status.is_terminal


class BatchResult(BaseModel):
    """What became of one job of a batch.

    Attributes:
        job: as it was accepted, or found again; None where it was refused.
        replayed: whether its idempotency key had made it before.
        status: the HTTP status of the refusal.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="allow", hide_input_in_errors=True)

    job: JobView | None = None
    replayed: bool = False
    status: int | None = Field(default=None, ge=400, le=599)

    @model_validator(mode="after")
    def _check_whole(self) -> BatchResult:
        if self.job is None and self.status is None:
            raise ValueError("must have a job or a status")
        return self

    def as_answer(self) -> dict[str, Any]:
        """Return what the server would have answered to this job alone, with its status."""
        return {"status": self.status, **(self.model_extra or {})}


class BatchResults(_Resource):
    """What became of the jobs of a batch, in order."""

    results: list[BatchResult]


class RoutingCandidate(_Resource):
    """A supplier's offer, as the router judged it.

    Attributes:
        supplier: the supplier's name.
        kind: its class.
        region: where its GPUs are.
        usd_per_gpu_hour: its price, in US dollars per GPU and hour.
        micros_per_gpu_hour: the same in whole millionths of a US dollar; None in older decisions.
        gpus: how many the supplier has; None where nobody counts them, and in older decisions.
        score: how good the offer is, higher being better; None if it was rejected before it was scored.
        rejected: why the offer was not eligible, such as `"outage"`; None if it was.
        has_room: whether it had room for the job then; None if the control plane does not say.
        simulated: True if the supplier is simulated: nothing runs there, and nothing is charged; None if the control
            plane does not say.
    """

    supplier: str
    kind: SupplierKind | None = None
    region: str | None = None
    usd_per_gpu_hour: float | None = None
    micros_per_gpu_hour: int | None = None
    gpus: int | None = None
    score: float | None = None
    rejected: str | None = None
    has_room: bool | None = None
    simulated: bool | None = None


class QuoteCandidate(RoutingCandidate):
    """A supplier's offer, as the router would judge it now, and what the job could cost there at most.

    Attributes:
        estimated_cost_usd: that, in US dollars.
    """

    estimated_cost_usd: float | None = None


class QuotedPlace(_Resource):
    """Where a job would go.

    Attributes:
        supplier: the supplier's name.
        kind: its class.
        region: where its GPUs are.
    """

    supplier: str
    kind: SupplierKind | None = None
    region: str | None = None


class Quote(_Resource):
    """What a submission would meet now. It promises nothing, and nothing is reserved.

    Attributes:
        estimated_cost_usd: what would be reserved for the job, in US dollars: the most that it can cost where it would
            go; None if every supplier is out.
        retail_cost_usd: what the cheapest hyperscaler would charge for the same time, in US dollars.
        usd_per_gpu_hour: the price behind the estimate, in US dollars per GPU and hour.
        chosen: where the job would go, or wait for; where it would take the least, if it does not fit; None if every
            supplier is out. Only supplier, kind and region are set.
        candidates: every offer, the best first.
        fits: whether the submission would be accepted.
        headroom_usd: what the key has left this month, in US dollars; None for no cap.
        largest_fitting: what of the job would fit the budget; None if the whole does.
        would_wait: whether it would be accepted, and nothing has room for it now.
        simulated: True if nothing would run, and nothing be charged.
        at: when the server answered.
    """

    estimated_cost_usd: float | None = None
    retail_cost_usd: float | None = None
    usd_per_gpu_hour: float | None = None
    chosen: QuotedPlace | None = None
    candidates: list[QuoteCandidate] = []
    fits: bool
    headroom_usd: float | None = None
    largest_fitting: LargestFitting | None = None
    would_wait: bool | None = None
    simulated: bool | None = None
    at: datetime | None = None


class RoutingRequirements(_Resource):
    """All that decided a placement beside the offers: what the job asks for, and how things stood.

    Attributes:
        gpu: the GPU model.
        gpu_count: number of GPUs.
        max_runtime_seconds: the time limit, in seconds, which the reservation is made of.
        require_tiers: classes of suppliers that may take it; empty for all.
        prefer_region: a region, or the start of one; None for no preference.
        max_cost_micros: the ceiling of the job's cost, in millionths of a US dollar; None for none.
        headroom_micros: the most that could be reserved for the job, in millionths of a US dollar, including what was
            reserved for it already; None for a key without a cap.
        cannot_run: names of suppliers that can never run the job.
        outages: names of suppliers that were out.
        drained: names of suppliers that were given nothing new.
        unreachable: names of suppliers that nobody could ask.
        lost: where the job was lost as often as it is tried there: supplier and region of each.
        lost_before: where it was lost, and is tried again if no other place is left.
        refused: where it was refused, or could not begin, a short while ago.
    """

    gpu: GpuType | None = None
    gpu_count: int | None = None
    max_runtime_seconds: int | None = None
    require_tiers: list[SupplierKind] = []
    prefer_region: str | None = None
    max_cost_micros: int | None = None
    headroom_micros: int | None = None
    cannot_run: list[str] = []
    outages: list[str] = []
    drained: list[str] = []
    unreachable: list[str] = []
    lost: list[tuple[str, str]] = []
    lost_before: list[tuple[str, str]] = []
    refused: list[tuple[str, str]] = []


class Routing(_Resource):
    """Why a job went where it went: a placement decision.

    Attributes:
        attempt: the number of the placement, from 1; None before the first decision, or if the server does not say.
        decision_sha256: the SHA-256 in lower-case hex of the decision as the server sends it (the canonical JSON, RFC
            8785, of its `catalogue_sha256`, `candidates`, `chosen` and `requirements`), which stands in the ledger's
            `attempt.opened` row; None in older decisions.
        catalogue_sha256: the SHA-256 in lower-case hex of the price list that was in force; None in older decisions.
        requirements: all else that decided; None in older decisions.
        chosen: the offer that was taken; None if none was, or if nothing has been decided yet.
        candidates: all the offers that were considered, best first.
    """

    attempt: int | None = None
    decision_sha256: str | None = None
    catalogue_sha256: str | None = None
    requirements: RoutingRequirements | None = None
    chosen: RoutingCandidate | None = None
    candidates: list[RoutingCandidate] = []

    @model_validator(mode="before")
    @classmethod
    def _find_chosen(cls, content: Any) -> Any:
        """Accept the name of the chosen supplier in place of its candidate."""
        if not isinstance(content, dict) or not isinstance(content.get("chosen"), str):
            return content
        candidates = content.get("candidates")
        named = [each for each in candidates if isinstance(each, dict)] if isinstance(candidates, list) else []
        found = [each for each in named if each.get("supplier") == content["chosen"]]
        return {**content, "chosen": found[0] if found else {"supplier": content["chosen"]}}


class Offer(_Resource):
    """A GPU model at a supplier in a region, at its price.

    Attributes:
        supplier: the supplier's name.
        kind: its class.
        region: where its GPUs are.
        gpu: the GPU model.
        usd_per_gpu_hour: its price, in US dollars per GPU and hour.
        free_gpus: how many are free at the supplier; None where nobody counts them, and for an agent's key.
        available: whether a job of one GPU could be placed there now: the supplier is not out, not full, within reach
            of a worker, and not another customer's. None if the server does not say.
        simulated: True if the supplier is simulated: nothing runs there, and nothing is charged.
    """

    supplier: str
    kind: SupplierKind | None = None
    region: str | None = None
    gpu: GpuType | None = None
    usd_per_gpu_hour: float | None = None
    free_gpus: int | None = None
    available: bool | None = None
    simulated: bool | None = None


class KeyView(_Resource):
    """The calling key and its budget; never the key itself.

    Attributes:
        id: the key's id.
        label: the name that it was given when it was minted.
        principal_kind: who it was minted for.
        signing_required: whether every request must carry a signature.
        monthly_spend_cap_usd: the cap, in US dollars; None for no cap.
        month_to_date_usd: realised spend plus what is reserved for jobs in flight, in US dollars.
        realised_usd: the cost of jobs that ended this calendar month (UTC), in US dollars.
        in_flight_usd: the amount reserved for jobs that have not ended, in US dollars.
        headroom_usd: the most that a submission may still cost, in US dollars; None without a cap.
        resets_at: when the next calendar month begins.
    """

    id: str
    label: str | None = None
    principal_kind: PrincipalKind | None = None
    signing_required: bool = False
    monthly_spend_cap_usd: float | None = None
    month_to_date_usd: float | None = None
    realised_usd: float | None = None
    in_flight_usd: float | None = None
    headroom_usd: float | None = None
    resets_at: datetime | None = None


class Webhook(_Resource):
    """An endpoint that events are delivered to.

    Attributes:
        id: `wh_…`.
        url: where deliveries are posted; the values in its query, which may be tokens, are `***` unless `create()`
            returned it.
        events: the event types that are delivered, such as `"job.completed"`.
        secret: `whsec_…`, the secret that deliveries are signed with; set only by `create()`, and never in a `repr`.
        created_at: when it was registered.
        disabled_at: since when nothing is delivered to it any more; None while it is live.
        disabled_reason: `"gone"` if it answered 410, `"failing"` if it accepted nothing for days; None while it is
            live.
        failing_since: since when every attempt has failed; None if the last one succeeded.
        held_until: when it is tried next, after it gave no answer; None if nothing holds it back.
    """

    id: str
    url: str
    events: list[str] = []
    secret: str | None = Field(default=None, repr=False)
    created_at: datetime | None = None
    disabled_at: datetime | None = None
    disabled_reason: str | None = None
    failing_since: datetime | None = None
    held_until: datetime | None = None


class WebhookSecret(_Resource):
    """The new secret of an endpoint. For 24 hours, deliveries are signed with the old one too.

    Attributes:
        secret: `whsec_…`; never in a `repr`, and never shown again by the server.
    """

    secret: str = Field(repr=False)


class DeliveryAttempt(_Resource):
    """One attempt to deliver an event.

    Attributes:
        at: when it began.
        status_code: the status that the endpoint answered with; None if no answer came.
        latency_ms: how long the attempt took, in milliseconds.
        error: why no answer came; None if one did.
    """

    at: datetime
    status_code: int | None = None
    latency_ms: float | None = None
    error: str | None = None


class Delivery(_Resource):
    """The delivery of one event to one endpoint.

    Attributes:
        id: the delivery's id, for `replay()`.
        event_id: `evt_…`, the same on every attempt.
        event_type: such as `"job.completed"`.
        status: `"pending"`, `"delivered"` or `"failed"`.
        attempts: the attempts so far, oldest first.
        next_retry_at: when the next attempt is due; None if there will be none.
    """

    id: str
    status: str
    event_id: str | None = None
    event_type: str | None = None
    attempts: list[DeliveryAttempt] = []
    next_retry_at: datetime | None = None


class LedgerEntry(_Resource):
    """One row of the customer's Trust Ledger.

    Attributes:
        seq: the row's number, counting from 1 without gaps.
        at: when it was written: RFC 3339 in UTC, kept as the text that was hashed.
        kind: what it records, such as `"job.settled"`.
        job_id: the job that it is about, or None.
        key_id: the key that it is about, or None.
        principal_kind: the kind of principal that the key belongs to, or None.
        payload: the recorded facts; money is in whole micro-USD.
        prev_hash: the leaf hash of the previous row; 64 zeros in the first.
        leaf: the text that is hashed: canonical JSON of all of the above, and of whose ledger it is.
        leaf_hash: SHA-256(0x00 ‖ `leaf`), in lower-case hexadecimal.
    """

    seq: int
    at: str
    kind: str
    job_id: str | None
    key_id: str | None
    principal_kind: PrincipalKind | None
    payload: dict[str, Any]
    prev_hash: str
    leaf: str
    leaf_hash: str


class LedgerCheckpoint(_Resource):
    """The signed size and root of the ledger at one moment. Keep it: later ones can be checked against it.

    Attributes:
        origin: the name of the log.
        size: how many rows it had.
        root_hash: the root of the tree over them, in lower-case hexadecimal.
        note: the three as a signed note (C2SP).
    """

    origin: str
    size: int
    root_hash: str
    note: str


class LedgerKey(_Resource):
    """The public key that checkpoints are signed with. Pin it: fetch it once, and keep it.

    Attributes:
        origin: the name of the log.
        algorithm: `"ed25519"`.
        public_key: base64 of its 32 bytes.
        vkey: the key together with its name, as verifiers of signed notes take it (C2SP).
    """

    origin: str
    algorithm: str
    public_key: str
    vkey: str


class InclusionProof(_Resource):
    """Proof that a row is in the ledger of a given size.

    Attributes:
        seq: the row's number; its leaf index is one less.
        size: the size of the ledger that the proof is for.
        leaf_hash: the row's leaf hash, in lower-case hexadecimal.
        hashes: the path from the leaf to the root (RFC 9162, section 2.1.3), in lower-case hexadecimal.
    """

    seq: int
    size: int
    leaf_hash: str
    hashes: list[str]


class ConsistencyProof(_Resource):
    """Proof that the ledger of one size begins with the ledger of another.

    Attributes:
        from_size: the earlier size.
        to_size: the later size.
        hashes: the proof of RFC 9162, section 2.1.4, in lower-case hexadecimal.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(populate_by_name=True)

    from_size: int = Field(alias="from")
    to_size: int = Field(alias="to")
    hashes: list[str]


class WebhookPage(_Resource):
    """A listing of endpoints."""

    webhooks: list[Webhook]


class OfferList(_Resource):
    """The price list."""

    offers: list[Offer]


class DeliveryPage(_Resource):
    """One page of a listing of deliveries."""

    deliveries: list[Delivery]
    next_cursor: str | None = None


class LedgerPage(_Resource):
    """One page of ledger rows."""

    entries: list[LedgerEntry]
    next_after: int | None = None
