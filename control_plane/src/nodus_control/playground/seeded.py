"""The keys that a playground starts with: a person's without a cap, and an agent's with a small one, signed."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

from nodus_core.money import micros_from_usd
from nodus_ledger.keys.keys import MintedKey, PrincipalKind, new_api_key, new_signing_secret

from ..control_plane import ControlPlane
from ..suppliers.drivers import state_directory
from .ready_file import write_private

CUSTOMER_ID = "playground"
AGENT_CAP_USD = 25

# Documented, the same everywhere: they open nothing but simulations on the machine that they are typed on.
API_KEY = "nk_test_playground_human_00000000000000000000"
AGENT_API_KEY = "nk_test_playground_agent_00000000000000000000"
AGENT_SIGNING_SECRET = "sgn_playground_agent_000000000000000000000000"

AGENT_ID = "00000000-0000-4000-8000-000000000002"
_HUMAN_ID = "00000000-0000-4000-8000-000000000001"


@dataclass(frozen=True, slots=True)
class SeededKeys:
    """The credentials of a playground."""

    api_key: str = field(repr=False)
    agent_api_key: str = field(repr=False)
    agent_signing_secret: str = field(repr=False)


class ExposedKeys(Exception):
    """Other users of the machine can read the file of kept keys; the message says so, and what to do."""


def seed_keys(control_plane: ControlPlane, *, kept: bool = False) -> SeededKeys:
    """Put the seeded keys into a control plane: fixed ones, or new ones where commands really run.

    Args:
        control_plane: the control plane.
        kept: whether the new ones are kept beside a database that lasts, and found there at the next start.

    Raises:
        ExposedKeys: they were kept where others can read them.
        OSError: the file cannot be read or written.
    """
    if not control_plane.drivers.runs_commands:
        keys = SeededKeys(API_KEY, AGENT_API_KEY, AGENT_SIGNING_SECRET)
        _put(control_plane, keys, is_test=True)
        return keys
    path = _kept_file(control_plane) if kept else None
    if path is not None and (found := _find_kept(control_plane, path)) is not None:
        return found
    keys = SeededKeys(new_api_key(), new_api_key(), new_signing_secret())
    _put(control_plane, keys, is_test=False)
    if path is not None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, {"api_key": keys.api_key, "agent_api_key": keys.agent_api_key})
    return keys


def _kept_file(control_plane: ControlPlane) -> Path | None:
    """Return where keys are kept: beside the file, or with a database server, in this user's state."""
    path = control_plane.database.path
    if path is not None:
        return path.with_name(path.name + ".playground.json")
    if not control_plane.database.is_server:
        return None
    return state_directory() / "playground" / f"{control_plane.settings.database_id()}.json"


def _find_kept(control_plane: ControlPlane, path: Path) -> SeededKeys | None:
    """Read kept keys; None where there are none, or the database does not take them any more.

    What the database says of them counts: what was revoked, rotated or capped since stays so.
    """
    try:
        mode = path.stat().st_mode
        content = json.loads(path.read_text(encoding="utf-8"))
        human, agent = control_plane.keys.find(content["api_key"]), control_plane.keys.find(content["agent_api_key"])
    except (FileNotFoundError, KeyError, TypeError, AttributeError, ValueError):
        return None
    if mode & 0o077:
        raise ExposedKeys(
            f"other users of this machine can read the keys in {path.name}, which run commands as you: delete the "
            "file, and new keys are made"
        )
    if human is None or agent is None or (human.id, agent.id) != (_HUMAN_ID, AGENT_ID):
        return None
    secrets = control_plane.keys.signing_secrets(agent, int(time.time() * 1000)).secrets
    return SeededKeys(content["api_key"], content["agent_api_key"], secrets[0]) if secrets else None


def _put(control_plane: ControlPlane, keys: SeededKeys, *, is_test: bool) -> None:
    now = control_plane.clock.now()
    control_plane.keys.put(
        MintedKey(_HUMAN_ID, keys.api_key, None),
        customer_id=CUSTOMER_ID,
        label="playground",
        principal_kind=PrincipalKind.HUMAN,
        now=now,
        monthly_cap=None,
        signing_required=False,
        is_test=is_test,
    )
    control_plane.keys.put(
        MintedKey(AGENT_ID, keys.agent_api_key, keys.agent_signing_secret),
        customer_id=CUSTOMER_ID,
        label="playground agent",
        principal_kind=PrincipalKind.AGENT,
        now=now,
        monthly_cap=micros_from_usd(AGENT_CAP_USD),
        signing_required=True,
        is_test=is_test,
    )
