"""Whose jobs a key may read the output of, and cancel."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import pytest

from nodus_control.testing import LocalControlPlane
from nodus_core.spec import parse_spec
from nodus_ledger.errors import ForbiddenPrincipal
from nodus_ledger.jobs.permissions import require_own


@pytest.mark.parametrize(
    ("kind", "is_test", "is_own", "simulated", "allowed"),
    [
        ("human", False, True, False, True),
        ("human", False, False, False, True),
        ("service", False, False, False, True),
        ("agent", False, True, False, True),
        ("agent", False, False, False, False),
        ("human", True, False, True, True),
        ("human", True, True, False, False),
        ("agent", True, True, True, True),
        ("agent", True, False, True, False),
    ],
)
def test_an_agent_has_its_own_jobs_and_a_test_key_simulated_ones(
    kind: str, is_test: bool, is_own: bool, simulated: bool, allowed: bool
) -> None:
    """People and services have all of their customer's."""
    with LocalControlPlane(serve=False) as control_plane:
        key = control_plane.plane.keys.find(control_plane.api_key)
        assert key is not None
        job = control_plane.plane.jobs.submit(key, parse_spec({"image": "a/b", "gpu": "l40s"}), None, 0).job
    asking = replace(key, id=key.id if is_own else "another", principal_kind=kind, is_test=is_test)

    with nullcontext() if allowed else pytest.raises(ForbiddenPrincipal):
        require_own(asking, replace(job, simulated=simulated))
