"""Attempts that end when their endpoint answers, and not when a busy machine has taken its time."""

from __future__ import annotations

import pytest
from patience import PATIENCE_SECONDS

from nodus_control.webhooks.sending import Sender


@pytest.fixture(autouse=True)
def no_attempt_runs_out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the machine takes, an attempt that hangs is under way until its test is over, and of one worker."""
    defaults = Sender.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "timeout_seconds", 10 * PATIENCE_SECONDS)
    monkeypatch.setattr("nodus_control.webhooks.deliverer.LEASE_MS", round(20_000 * PATIENCE_SECONDS))
