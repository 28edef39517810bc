"""What the ledger records of refusals by a key's cap: each amount once a minute, however many ask for it."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from sqlalchemy import Connection

from nodus_control.control_plane import ControlPlane
from nodus_control.testing import LocalControlPlane
from nodus_core.spec import parse_spec
from nodus_ledger.errors import BudgetExceeded
from nodus_ledger.keys import refusals
from nodus_ledger.keys.keys import KeyRecord, PrincipalKind

NOW = 1_800_000_000_000
SPEC = {"image": "x", "gpu": "h100_80gb"}
AN_HOUR, TWO_HOURS = 3600, 7200


def capped(control_plane: ControlPlane, now: int) -> KeyRecord:
    """Mint a key with which nothing can be bought."""
    minted = control_plane.keys.mint(
        customer_id="acme", label="", principal_kind=PrincipalKind.AGENT, now=now, monthly_cap=1, is_test=True
    )
    found = control_plane.keys.find(minted.api_key)
    assert found is not None
    return found


def ask(control_plane: ControlPlane, key: KeyRecord, seconds: int, now: int) -> None:
    """Submit what is refused."""
    spec = parse_spec({**SPEC, "max_runtime_seconds": seconds})
    with pytest.raises(BudgetExceeded):
        control_plane.jobs.submit(key, spec, None, now)


def recorded(control_plane: ControlPlane, key: KeyRecord) -> int:
    """Count the rows about refusals."""
    page = control_plane.trust_ledger.entries("acme", job_id=None, after=0, limit=1000, key_id=key.id)
    return sum(entry.kind == "budget.exceeded" for entry in page.entries)


@pytest.mark.both_engines
def test_an_amount_is_recorded_once_a_minute_by_all_processes_together(kept_database_url: str) -> None:
    """For each key on its own; what a batch asks for is no exception."""
    with ExitStack() as stack:
        first, second = (ControlPlane(kept_database_url, seed=None, is_alone=False) for _ in range(2))
        stack.callback(first.close)
        stack.callback(second.close)
        key, other = capped(first, NOW), capped(first, NOW)
        for control_plane in (first, second, first):
            ask(control_plane, key, AN_HOUR, NOW)
        within_a_minute = recorded(first, key)
        ask(second, key, TWO_HOURS, NOW + 1)
        ask(second, other, AN_HOUR, NOW + 1)
        of_another = recorded(first, key), recorded(first, other)
        spec = parse_spec({**SPEC, "max_runtime_seconds": AN_HOUR})
        first.jobs.submit_all(key, [(spec, "one"), (spec, "two")], NOW + refusals.PAUSE_MS - 1)
        before_it_is_over = recorded(first, key)
        first.jobs.submit_all(key, [(spec, "three"), (spec, "four")], NOW + refusals.PAUSE_MS)
        after = recorded(first, key)

    assert (within_a_minute, of_another, before_it_is_over, after) == (1, (2, 1), 2, 3)


def test_a_record_that_is_taken_back_is_none(database_url: str) -> None:
    """The refusal after it is recorded."""
    with LocalControlPlane(database=database_url, serve=False) as control_plane:
        database = control_plane.plane.database

        def fail_after(connection: Connection) -> None:
            answers.append(refusals.is_to_be_recorded(connection, "key", 7, NOW))
            raise ZeroDivisionError

        answers: list[bool] = []
        with pytest.raises(ZeroDivisionError):
            database.run(fail_after)
        with database.write() as connection:
            answers += [refusals.is_to_be_recorded(connection, "key", 7, NOW) for _ in range(2)]

    assert answers == [True, True, False]


def test_a_history_that_begins_anew_begins_with_what_is_refused() -> None:
    """Its clock begins anew too."""
    with LocalControlPlane(serve=False) as control_plane:
        key = capped(control_plane.plane, control_plane.plane.clock.now())
        ask(control_plane.plane, key, AN_HOUR, control_plane.plane.clock.now())
        control_plane.reset()
        ask(control_plane.plane, key, AN_HOUR, control_plane.plane.clock.now())

        assert recorded(control_plane.plane, key) == 1


def test_what_is_remembered_has_a_bound() -> None:
    """Whoever asks for ever other amounts; the newest are kept."""
    told = {str(amount): NOW + amount for amount in range(3 * refusals.MOST_REMEMBERED)}

    kept = refusals.remembered(told, NOW + len(told))

    assert list(kept) == list(told)[-refusals.MOST_REMEMBERED :]
    assert refusals.remembered(told, NOW + len(told) + refusals.PAUSE_MS) == {}
