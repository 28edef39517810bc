"""Who may send next: pure decisions on how attempts share a sender's places.

Sending costs little; what is scarce is room for attempts that wait. So endpoints that answer and endpoints that do not
are kept apart: an attempt that has waited for two seconds leaves the places of the quick ones, and one to an endpoint
that gave no answer before never takes one. However many endpoints hang, those that answer find room. Within each kind,
the customer with the fewest attempts under way comes first, and nobody has more than a few: many endpoints, or ever new
ones, give a customer no more places than one does.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

SLOW_SECONDS = 2.0
"""After so long, in real seconds, an attempt no longer counts among the quick ones."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many attempts may be under way.

    Attributes:
        quick: of those that have not waited long, to endpoints that answered before.
        suspect: to endpoints that gave no answer before.
        in_all: of every kind, those included that turned out slow. Each is an open connection.
        customer: to all endpoints of a customer.
        endpoint: to one endpoint.
        begun_at_once: how many may be begun together.
    """

    quick: int = 256
    suspect: int = 256
    in_all: int = 1024
    customer: int = 16
    endpoint: int = 4
    begun_at_once: int = 64


def limits_within(descriptors: int) -> Limits:
    """Return the limits of a process that may open so many files: no more than half of them are attempts.

    >>> limits_within(1024).in_all, limits_within(1_000_000).in_all
    (512, 1024)
    """
    usual = Limits()
    in_all = max(16, min(usual.in_all, descriptors // 2))
    return replace(usual, in_all=in_all, quick=min(usual.quick, in_all), suspect=min(usual.suspect, in_all // 2))


@dataclass(frozen=True, slots=True)
class Waiting:
    """An endpoint with something due, the longest since `due_at`; `is_suspect` where it gave no answer last."""

    endpoint_id: str
    customer_id: str
    due_at: int
    is_suspect: bool


@dataclass(frozen=True, slots=True)
class InFlight:
    """An attempt in flight, and for how many real seconds."""

    endpoint_id: str
    customer_id: str
    is_suspect: bool
    seconds: float

    @property
    def is_quick(self) -> bool:
        """Whether it takes one of the places for endpoints that answer."""
        return not self.is_suspect and self.seconds < SLOW_SECONDS


def share(waiting: Iterable[Waiting], in_flight: Iterable[InFlight], limits: Limits) -> Mapping[str, int]:
    """Return how many attempts may be begun to each endpoint; an endpoint that must wait is left out."""
    to_customer: Counter[str] = Counter()
    to_endpoint: Counter[str] = Counter()
    quick = suspect = in_all = 0
    for each in in_flight:
        to_customer[each.customer_id] += 1
        to_endpoint[each.endpoint_id] += 1
        in_all += 1
        quick += each.is_quick
        suspect += each.is_suspect
    room = {False: limits.quick - quick, True: limits.suspect - suspect}
    left = min(limits.begun_at_once, limits.in_all - in_all)

    # Of a customer, the endpoint with the fewest attempts, then the one that waits longest; of customers likewise.
    queues: defaultdict[str, list[tuple[int, int, str, bool]]] = defaultdict(list)
    for one in waiting:
        entry = (to_endpoint[one.endpoint_id], one.due_at, one.endpoint_id, one.is_suspect)
        queues[one.customer_id].append(entry)
    customers: list[tuple[int, int, str]] = []
    for customer_id, queue in queues.items():
        heapq.heapify(queue)
        customers.append((to_customer[customer_id], min(entry[1] for entry in queue), customer_id))
    heapq.heapify(customers)

    begun: Counter[str] = Counter()
    while customers and left > 0:
        taken, due_at, customer_id = heapq.heappop(customers)
        queue = queues[customer_id]
        if taken >= limits.customer or not queue:
            continue
        busy, endpoint_due_at, endpoint_id, is_suspect = heapq.heappop(queue)
        if busy < (1 if is_suspect else limits.endpoint) and room[is_suspect] > 0:
            begun[endpoint_id] += 1
            room[is_suspect] -= 1
            left -= 1
            taken += 1
            heapq.heappush(queue, (busy + 1, endpoint_due_at, endpoint_id, is_suspect))
        heapq.heappush(customers, (taken, due_at, customer_id))
    return begun
