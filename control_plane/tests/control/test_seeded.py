"""The keys of a playground whose database lasts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nodus_control.control_plane import ControlPlane
from nodus_control.playground.seeded import SeededKeys, seed_keys


@contextmanager
def seeded(url: str, driver: str = "process") -> Iterator[tuple[ControlPlane, SeededKeys]]:
    """Start a control plane as the playground does."""
    control_plane = ControlPlane(url, driver=driver)
    try:
        yield control_plane, seed_keys(control_plane, kept=True)
    finally:
        control_plane.close()


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database that lasts."""
    return f"sqlite:///{tmp_path / 'nodus.db'}"


@pytest.mark.both_engines
def test_they_are_found_again(kept_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a file, or with a database server, in this user's state."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with seeded(kept_database_url) as (_, first):
        pass
    with seeded(kept_database_url) as (_, second):
        pass

    assert first == second


def test_what_an_operator_changed_stays_changed(url: str) -> None:
    """A rotated secret and a changed cap survive a restart."""
    with seeded(url) as (control_plane, first):
        agent = control_plane.keys.find(first.agent_api_key)
        assert agent is not None
        rotated = control_plane.keys.rotate(agent.id, control_plane.clock.now(), int(time.time() * 1000))
        control_plane.keys.set_cap(agent.id, 1_000_000, control_plane.clock.now())
    with seeded(url) as (control_plane, second):
        found = control_plane.keys.find(second.agent_api_key)
        assert found is not None

    assert (second.agent_api_key, second.agent_signing_secret) == (first.agent_api_key, rotated)
    assert found.monthly_cap == 1_000_000


def test_a_revoked_key_does_not_come_back(url: str) -> None:
    """New ones take their place."""
    with seeded(url) as (control_plane, first):
        human = control_plane.keys.find(first.api_key)
        assert human is not None
        control_plane.keys.revoke(human.id, control_plane.clock.now())
    with seeded(url) as (control_plane, second):
        assert control_plane.keys.find(first.api_key) is None
        assert control_plane.keys.find(second.api_key) is not None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"api_key": 5, "agent_api_key": null}', "{"])
def test_a_file_that_says_nothing_is_replaced(url: str, tmp_path: Path, content: str) -> None:
    """As if there were none; and keys that somebody else put there open nothing."""
    with seeded(url) as (_, first):
        pass
    (tmp_path / "nodus.db.playground.json").write_text(content)
    with seeded(url) as (control_plane, second):
        assert control_plane.keys.find(second.api_key) is not None

    assert second.api_key != first.api_key


def test_the_keys_that_everybody_knows_run_nothing(url: str) -> None:
    """A database that was used with simulations has live keys afterwards, which nobody knows."""
    with seeded(url, "simulated") as (_, known):
        pass
    with seeded(url) as (control_plane, fresh):
        assert control_plane.keys.find(known.api_key) is None
        assert control_plane.keys.find(known.agent_api_key) is None

    assert fresh.api_key.startswith("nk_live_")
