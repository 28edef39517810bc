"""The worker's side of webhooks (claim deliveries that are due, write what became of them), and what customers see.

What is due is found by endpoint, one look-up for each that has anything pending, so that the long queue of one endpoint
costs the others nothing. An endpoint that gives no answer is held back as a whole (`endpoint_health`): its deliveries
stay due, and are tried when the hold is over.

A claim is a lease (in real time) and a generation, which every claim and every replay increases by one. A worker that
comes back with an outcome after that still records the attempt, because it was made, but leaves the delivery to its new
owner. If a worker dies meanwhile, its lease expires, and the event is delivered again, under the same id.
"""

from __future__ import annotations

import secrets as random_source
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import CTE, Connection, bindparam, exists, func, insert, or_, select, update

from nodus_core.endpoint_health import EndpointHealth, after_attempt
from nodus_core.times import timestamp
from nodus_core.webhook_retries import Outcome, next_delay_ms

from ..database.cursors import Cursors
from ..database.database import Database
from ..database.prepared import Prepared
from ..database.sealing import Sealer
from ..database.webhook_schema import attempts, deliveries, endpoints, outbox
from ..errors import Refused
from ..trust import log
from .endpoints import FAILING, GONE, UnknownWebhook, disable, lock_in_order
from .outbox import PENDING

DELIVERED = "delivered"
FAILED = "failed"
ATTEMPTED = "webhook.attempted"
"""The kind of an attempt's row in the Trust Ledger."""


class UnknownDelivery(Refused):
    """The endpoint has no such delivery."""


class WebhookDisabled(Refused):
    """Nothing is delivered to the endpoint any more."""


@dataclass(frozen=True, slots=True)
class DueEndpoint:
    """An endpoint with a delivery that is due and free, the longest since `due_at`, in Unix milliseconds."""

    id: str
    customer_id: str
    due_at: int
    is_suspect: bool


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A delivery that this worker holds for a while."""

    id: str
    generation: int
    endpoint_id: str
    event_id: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AttemptFacts:
    """One attempt: `at` in Unix milliseconds of the control plane's clock, latency in real milliseconds."""

    at: int
    status_code: int | None
    latency_ms: int
    error: str | None


@dataclass(frozen=True, slots=True)
class DeliveryFacts:
    """A delivery as its customer sees it; `next_retry_at` is None if it will not be retried."""

    id: str
    event_id: str
    event_type: str
    status: str
    next_retry_at: int | None
    attempts: Sequence[AttemptFacts]


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """One page of an endpoint's deliveries, newest first; `next_cursor` is None on the last one."""

    deliveries: list[DeliveryFacts]
    next_cursor: str | None


_IS_FREE = or_(deliveries.c.lease_until.is_(None), deliveries.c.lease_until < bindparam("real_now"))
_OLDEST_DUE = (
    select(deliveries.c.due_at)
    .where(deliveries.c.endpoint_id == endpoints.c.id, deliveries.c.due_at <= bindparam("now"), _IS_FREE)
    .order_by(deliveries.c.due_at)
    .limit(1)
    .scalar_subquery()
)


def _with_something_pending() -> CTE:
    """Name the endpoints with pending deliveries, by leaps through their index: however many each has waiting."""
    first = select(func.min(deliveries.c.endpoint_id).label("endpoint_id")).where(deliveries.c.due_at.is_not(None))
    pending = first.cte("pending", recursive=True)
    following = (
        select(func.min(deliveries.c.endpoint_id))
        .where(deliveries.c.due_at.is_not(None), deliveries.c.endpoint_id > pending.c.endpoint_id)
        .scalar_subquery()
    )
    return pending.union_all(select(following).where(pending.c.endpoint_id.is_not(None)))


_PENDING = _with_something_pending()
# These three are asked after every submission, whether anybody has endpoints or not.
_DUE_ENDPOINTS = Prepared(
    select(endpoints.c.id, endpoints.c.customer_id, _OLDEST_DUE.label("due_at"), endpoints.c.unanswered)
    .select_from(_PENDING.join(endpoints, endpoints.c.id == _PENDING.c.endpoint_id))
    .where(or_(endpoints.c.held_until.is_(None), endpoints.c.held_until <= bindparam("now")))
)
_DUE = (
    select(deliveries.c.id, deliveries.c.generation, outbox.c.id.label("event_id"), outbox.c.body)
    .select_from(deliveries.join(outbox, outbox.c.id == deliveries.c.event_id))
    .where(deliveries.c.endpoint_id == bindparam("endpoint"), deliveries.c.due_at <= bindparam("now"), _IS_FREE)
    .order_by(deliveries.c.due_at, deliveries.c.seq)
    .limit(bindparam("most"))
    .with_for_update(of=deliveries, skip_locked=True)
)
_NEXT_AFTER = Prepared(select(func.min(deliveries.c.due_at)).where(deliveries.c.due_at > bindparam("now")))
_NEXT_RELEASED = Prepared(
    select(endpoints.c.held_until)
    .where(
        endpoints.c.held_until > bindparam("now"),
        exists().where(deliveries.c.endpoint_id == endpoints.c.id, deliveries.c.due_at.is_not(None)),
    )
    .order_by(endpoints.c.held_until)
    .limit(1)
)
_HEALTH = select(endpoints.c.failed, endpoints.c.unanswered, endpoints.c.failing_since, endpoints.c.held_until).where(
    endpoints.c.id == bindparam("endpoint")
)
_LEASE = (
    update(deliveries)
    .where(deliveries.c.id == bindparam("of_id"))
    .values(generation=bindparam("to_generation"), lease_owner=bindparam("to_owner"), lease_until=bindparam("to_until"))
)
_VIEW = select(
    deliveries.c.seq,
    deliveries.c.id,
    deliveries.c.event_id,
    outbox.c.type,
    deliveries.c.status,
    deliveries.c.due_at,
    endpoints.c.held_until,
).select_from(
    deliveries.join(outbox, outbox.c.id == deliveries.c.event_id).join(
        endpoints, endpoints.c.id == deliveries.c.endpoint_id
    )
)


class Deliveries:
    """The deliveries of all customers."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._cursors = Cursors(sealer, "deliveries")

    def next_after(self, now: int) -> int | None:
        """Return the earliest time after `now` at which a delivery may be attempted; None where none will."""
        with self._database.read() as connection:
            rows = [query.first(connection, {"now": now}) for query in (_NEXT_AFTER, _NEXT_RELEASED)]
        return min((row[0] for row in rows if row is not None and row[0] is not None), default=None)

    def due(self, *, now: int, real_now: int) -> list[DueEndpoint]:
        """Return the endpoints to which something may be sent. Both times are in Unix milliseconds."""
        with self._database.read() as connection:
            rows = _DUE_ENDPOINTS.all(connection, {"now": now, "real_now": real_now})
        return [
            DueEndpoint(endpoint_id, customer_id, due_at, unanswered > 0)
            for endpoint_id, customer_id, due_at, unanswered in rows
            if due_at is not None
        ]

    def claim(self, owner: str, *, now: int, real_now: int, lease_ms: int, shares: Mapping[str, int]) -> list[Outgoing]:
        """Claim due deliveries, of each endpoint those that are due the longest.

        Args:
            owner: who claims them.
            now: the time, in Unix milliseconds.
            real_now: real time, in Unix milliseconds.
            lease_ms: how long the owner holds them.
            shares: how many to claim at most, by endpoint.
        """
        if not shares:
            return []
        until = real_now + lease_ms
        taken: list[Outgoing] = []
        with self._database.write() as connection:
            for endpoint_id, most in shares.items():
                wanted = {"now": now, "real_now": real_now, "endpoint": endpoint_id, "most": most}
                taken += [
                    Outgoing(row.id, row.generation + 1, endpoint_id, row.event_id, row.body.encode())
                    for row in connection.execute(_DUE, wanted)
                ]
            if taken:
                connection.execute(
                    _LEASE,
                    [
                        {"of_id": each.id, "to_generation": each.generation, "to_owner": owner, "to_until": until}
                        for each in taken
                    ],
                )
        return taken

    def finish(
        self, owner: str, outgoing: Outgoing, outcome: Outcome, *, began: int, ended: int, chance: float
    ) -> None:
        """Record an attempt, in the Trust Ledger too, and its consequences.

        Args:
            owner: who claimed the delivery.
            outgoing: the claim.
            outcome: how the attempt ended.
            began: when the attempt began, in Unix milliseconds.
            ended: when it ended: what the next delay counts from.
            chance: from 0 to 1; see `next_delay_ms`.
        """
        # What ends together is written together: an outage ends many attempts at the same moment.
        self._database.run(
            lambda connection: _record_outcome(connection, owner, outgoing, outcome, began, ended, chance)
        )

    def release(self, owner: str, delivery_ids: Sequence[str]) -> None:
        """Give claims back; the deliveries are due as they were before."""
        if not delivery_ids:
            return
        with self._database.write() as connection:
            lock_in_order(connection, deliveries.c.id.in_(delivery_ids))
            connection.execute(
                update(deliveries)
                .where(deliveries.c.id.in_(delivery_ids), deliveries.c.lease_owner == owner)
                .values(lease_owner=None, lease_until=None)
            )

    def release_all(self) -> None:
        """End every lease: for the one process that uses a database alone, when it starts after a crash."""
        with self._database.write() as connection:
            connection.execute(
                update(deliveries)
                .where(deliveries.c.lease_owner.is_not(None))
                .values(lease_owner=None, lease_until=None)
            )

    def page(self, customer_id: str, endpoint_id: str, *, limit: int, cursor: str | None) -> DeliveryPage:
        """Return a page of the deliveries to an endpoint, newest first.

        Raises:
            UnknownWebhook: this customer has no such endpoint.
            UnusableCursor: no page gave this cursor.
        """
        query = _VIEW.where(deliveries.c.endpoint_id == endpoint_id).order_by(deliveries.c.seq.desc())
        if cursor is not None:
            query = query.where(deliveries.c.seq < self._cursors.read(endpoint_id, cursor))
        with self._database.read() as connection:
            _require_endpoint(connection, customer_id, endpoint_id)
            rows = connection.execute(query.limit(limit + 1)).all()
            page = rows[:limit]
            made = _attempts_of(connection, [row.id for row in page])
        facts = [_facts(row, made[row.id]) for row in page]
        return DeliveryPage(facts, self._cursors.make(endpoint_id, page[-1].seq) if len(rows) > limit else None)

    def replay(self, customer_id: str, endpoint_id: str, delivery_id: str, now: int) -> DeliveryFacts:
        """Make a delivery due at once, whatever its status, and restart its whole schedule.

        Raises:
            UnknownWebhook, UnknownDelivery: this customer has no such endpoint, or that endpoint no such delivery.
            WebhookDisabled: nothing is delivered to the endpoint any more.
        """
        with self._database.write() as connection:
            if _require_endpoint(connection, customer_id, endpoint_id) is not None:
                raise WebhookDisabled
            # Somebody asks for it now; an endpoint that still does not answer is held again.
            connection.execute(
                update(endpoints)
                .where(endpoints.c.id == endpoint_id, endpoints.c.held_until > now)
                .values(held_until=now)
            )
            replayed = connection.execute(
                update(deliveries)
                .where(deliveries.c.id == delivery_id, deliveries.c.endpoint_id == endpoint_id)
                .values(
                    status=PENDING,
                    tries=0,
                    due_at=now,
                    generation=deliveries.c.generation + 1,
                    lease_owner=None,
                    lease_until=None,
                )
            )
            if replayed.rowcount == 0:
                raise UnknownDelivery
            row = connection.execute(_VIEW.where(deliveries.c.id == delivery_id)).one()
            return _facts(row, _attempts_of(connection, [delivery_id])[delivery_id])


def new_owner() -> str:
    """Make the name that a worker claims under."""
    return random_source.token_hex(8)


def _follow_up(outcome: Outcome, tries: int, ended: int, chance: float) -> dict[str, Any]:
    """Decide what a delivery becomes after an attempt."""
    delay = None if outcome.is_success else next_delay_ms(tries, chance)
    status = DELIVERED if outcome.is_success else FAILED if delay is None else PENDING
    return {
        "status": status,
        "tries": tries,
        "due_at": None if delay is None else ended + delay,
        "lease_owner": None,
        "lease_until": None,
    }


def _record_outcome(
    connection: Connection, owner: str, outgoing: Outgoing, outcome: Outcome, began: int, ended: int, chance: float
) -> None:
    # Before the delivery is locked: whoever locks both takes the endpoint first.
    held_until = _judge(connection, outgoing.endpoint_id, outcome, began, ended)
    query = select(deliveries).where(deliveries.c.id == outgoing.id).with_for_update()
    delivery = connection.execute(query).mappings().first()
    if delivery is None:
        return
    due_at = delivery["due_at"]
    if delivery["lease_owner"] == owner and delivery["generation"] == outgoing.generation:
        changes = _follow_up(outcome, delivery["tries"] + 1, ended, chance)
        connection.execute(update(deliveries).where(deliveries.c.id == outgoing.id).values(changes))
        due_at = changes["due_at"]
    next_retry_at = _not_before(held_until, due_at)
    number = _record(connection, outgoing.id, outcome, began)
    event = connection.execute(select(outbox).where(outbox.c.id == outgoing.event_id)).mappings().one()
    log.append(
        connection,
        event["customer_id"],
        kind=ATTEMPTED,
        at=ended,
        job_id=event["job_id"],
        key_id=event["key_id"],
        principal_kind=event["principal_kind"],
        payload={
            "webhook_id": outgoing.endpoint_id,
            "delivery_id": outgoing.id,
            "event_id": outgoing.event_id,
            "event_type": event["type"],
            "attempt": number,
            "attempted_at": timestamp(began),
            "status_code": outcome.status_code,
            "latency_ms": outcome.latency_ms,
            "error": outcome.error,
            "next_retry_at": None if next_retry_at is None else timestamp(next_retry_at),
        },
    )


def _judge(connection: Connection, endpoint_id: str, outcome: Outcome, began: int, ended: int) -> int | None:
    """Remember what an attempt says about its endpoint, which may disable it; return until when it is held now."""
    wanted = {"endpoint": endpoint_id}
    row = connection.execute(_HEALTH, wanted).first()
    if row is None or (outcome.is_success and EndpointHealth(*row) == EndpointHealth()):
        # As usual: there is nothing to remember, and no row to wait for.
        return None
    before = EndpointHealth(*connection.execute(_HEALTH.with_for_update(), wanted).one())
    health = after_attempt(before, outcome, began=began, ended=ended)
    if outcome.is_gone or health.is_given_up(ended):
        disable(connection, endpoint_id, GONE if outcome.is_gone else FAILING, ended)
        return None
    if health != before:
        connection.execute(update(endpoints).where(endpoints.c.id == endpoint_id).values(asdict(health)))
    return health.held_until


def _not_before(held_until: int | None, due_at: int | None) -> int | None:
    """Return when what is due is attempted at the earliest, where its endpoint may be held."""
    return due_at if due_at is None or held_until is None else max(due_at, held_until)


def _record(connection: Connection, delivery_id: str, outcome: Outcome, began: int) -> int:
    query = select(func.coalesce(func.max(attempts.c.number), 0)).where(attempts.c.delivery_id == delivery_id)
    number: int = connection.execute(query).scalar_one() + 1
    connection.execute(
        insert(attempts).values(
            delivery_id=delivery_id,
            number=number,
            at=began,
            status_code=outcome.status_code,
            latency_ms=outcome.latency_ms,
            error=outcome.error,
        )
    )
    return number


def _attempts_of(connection: Connection, delivery_ids: Sequence[str]) -> Mapping[str, list[AttemptFacts]]:
    found: defaultdict[str, list[AttemptFacts]] = defaultdict(list)
    if delivery_ids:
        query = (
            select(
                attempts.c.delivery_id,
                attempts.c.at,
                attempts.c.status_code,
                attempts.c.latency_ms,
                attempts.c.error,
            )
            .where(attempts.c.delivery_id.in_(delivery_ids))
            .order_by(attempts.c.number)
        )
        for delivery_id, *facts in connection.execute(query):
            found[delivery_id].append(AttemptFacts(*facts))
    return found


def _facts(row: Any, made: Sequence[AttemptFacts]) -> DeliveryFacts:
    next_retry_at = _not_before(row.held_until, row.due_at)
    return DeliveryFacts(row.id, row.event_id, row.type, row.status, next_retry_at, made)


def _require_endpoint(connection: Connection, customer_id: str, endpoint_id: str) -> int | None:
    """Return since when an endpoint is disabled; None for one that is live."""
    row = connection.execute(
        select(endpoints.c.disabled_at).where(
            endpoints.c.id == endpoint_id, endpoints.c.customer_id == customer_id, endpoints.c.deleted_at.is_(None)
        )
    ).first()
    if row is None:
        raise UnknownWebhook
    disabled_at: int | None = row.disabled_at
    return disabled_at
