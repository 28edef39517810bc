"""The webhooks of one control plane, put together."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from nodus_ledger.database.database import Database
from nodus_ledger.database.fingerprints import Fingerprints
from nodus_ledger.database.sealing import Sealer
from nodus_ledger.keys.thresholds import DEFAULT_FRACTION
from nodus_ledger.webhooks.deliveries import Deliveries
from nodus_ledger.webhooks.endpoints import Webhooks

from ..clock import Clock
from .addresses import LOOPBACK, Allowed, parse_allowed
from .deliverer import Deliverer
from .fair_share import limits_within
from .inbox import Inbox
from .resolving import Destinations, Resolve, system_addresses
from .sending import Sender


@dataclass(frozen=True)
class WebhookOptions:
    """What an operator decides.

    Attributes:
        allowed: where deliveries may go although it is not public.
        threshold: the fraction of a key's cap at which `budget.threshold_reached` is sent.
        resolve: looks names up.
    """

    allowed: Allowed = field(default_factory=Allowed)
    threshold: float = DEFAULT_FRACTION
    resolve: Resolve = system_addresses


def options_for_this_machine(allow: tuple[str, ...] = (), threshold: float = DEFAULT_FRACTION) -> WebhookOptions:
    """Return the options of a playground: loopback is allowed, and whatever `allow` names.

    Raises:
        ValueError: an entry is neither a network nor an address nor a name.
    """
    return WebhookOptions(allowed=parse_allowed([*LOOPBACK, *allow]), threshold=threshold)


class WebhookService:
    """Endpoints, where they may lead, their deliveries, and the deliverer."""

    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        fingerprints: Fingerprints,
        clock: Clock,
        options: WebhookOptions,
        *,
        is_alone: bool,
    ) -> None:
        self.endpoints = Webhooks(database, sealer, fingerprints)
        self.endpoints.seal_urls()
        self.deliveries = Deliveries(database, sealer)
        self.destinations = Destinations(options.allowed, options.resolve)
        self.deliverer = Deliverer(
            self.endpoints, self.deliveries, Sender(self.destinations), clock, limits=limits_within(_open_files())
        )
        self.inbox = Inbox()
        if is_alone:
            self.deliveries.release_all()


def _open_files() -> int:
    """Return how many files this process may open."""
    try:
        import resource
    except ImportError:
        # Windows counts them otherwise, and allows more.
        return sys.maxsize
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft
