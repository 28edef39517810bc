# Generated from tests/_async/clients.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""Clients for tests: with a fake clock and a known source of jitter, over a script or over loopback."""

from __future__ import annotations

import random
from typing import Any

from nodus import Client
from nodus._concurrency import Clock
from tests.support.clock import FakeClock
from tests.support.script import Script
from tests.support.server import LoopbackServer

API_KEY = "nk_test_7Z4dMfQ3"
SIGNING_SECRET = "sgn_9bfe00000000000000000000000014"


def scripted(script: Script, clock: Clock | None = None, **options: Any) -> Client:
    """A client whose requests `script` answers."""
    options = {"api_key": API_KEY, "http_client": script, "_rng": random.Random(7), **options}
    return Client(_clock=FakeClock() if clock is None else clock, **options)


def on_loopback(server: LoopbackServer, clock: Clock | None = None, **options: Any) -> Client:
    """A client whose requests go over real sockets; patient, because on a busy machine an answer may take long."""
    options = {"api_key": API_KEY, "base_url": server.url, "timeout": 120.0, "_rng": random.Random(7), **options}
    return Client(_clock=FakeClock() if clock is None else clock, **options)
