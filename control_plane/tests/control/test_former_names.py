"""Names from before there were rooms: programs of others that import them go on working until the next version."""

from __future__ import annotations

import importlib

import pytest

from nodus_control.api.app import create_app
from nodus_control.control_plane import ControlPlane
from nodus_control.serving.server import Server
from nodus_ledger.keys.keys import PrincipalKind


@pytest.mark.parametrize(
    ("module", "name", "now"),
    [
        ("nodus_control.app", "create_app", create_app),
        ("nodus_control.plane", "Plane", ControlPlane),
        ("nodus_control.server", "Server", Server),
        ("nodus_ledger.keys", "PrincipalKind", PrincipalKind),
    ],
)
def test_a_former_name_is_the_present_thing(module: str, name: str, now: object) -> None:
    """Not a copy of it."""
    assert getattr(importlib.import_module(module), name) is now
