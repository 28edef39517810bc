"""The keys that a playground starts with: a person's without a cap, and an agent's with a small one, signed."""

from __future__ import annotations

from dataclasses import dataclass, field

from nodus_core.money import micros_from_usd
from nodus_ledger.keys import MintedKey, PrincipalKind, new_api_key, new_signing_secret

from ..plane import Plane

CUSTOMER_ID = "playground"
AGENT_CAP_USD = 25

# Documented, the same everywhere: they open nothing but simulations on the machine that they are typed on.
API_KEY = "nk_test_playground_human_00000000000000000000"
AGENT_API_KEY = "nk_test_playground_agent_00000000000000000000"
AGENT_SIGNING_SECRET = "sgn_playground_agent_000000000000000000000000"

_HUMAN_ID = "00000000-0000-4000-8000-000000000001"
_AGENT_ID = "00000000-0000-4000-8000-000000000002"


@dataclass(frozen=True, slots=True)
class SeededKeys:
    """The credentials of a playground."""

    api_key: str = field(repr=False)
    agent_api_key: str = field(repr=False)
    agent_signing_secret: str = field(repr=False)


def seed_keys(plane: Plane) -> SeededKeys:
    """Put the seeded keys into a control plane: fixed ones, or new ones where commands really run."""
    if plane.driver.runs_commands:
        keys = SeededKeys(new_api_key(), new_api_key(), new_signing_secret())
    else:
        keys = SeededKeys(API_KEY, AGENT_API_KEY, AGENT_SIGNING_SECRET)
    is_test = not plane.driver.runs_commands
    now = plane.clock.now()
    plane.keys.put(
        MintedKey(_HUMAN_ID, keys.api_key, None),
        customer_id=CUSTOMER_ID,
        label="playground",
        principal_kind=PrincipalKind.HUMAN,
        now=now,
        monthly_cap=None,
        signing_required=False,
        is_test=is_test,
    )
    plane.keys.put(
        MintedKey(_AGENT_ID, keys.agent_api_key, keys.agent_signing_secret),
        customer_id=CUSTOMER_ID,
        label="playground agent",
        principal_kind=PrincipalKind.AGENT,
        now=now,
        monthly_cap=micros_from_usd(AGENT_CAP_USD),
        signing_required=True,
        is_test=is_test,
    )
    return keys
