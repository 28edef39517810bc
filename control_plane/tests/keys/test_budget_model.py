"""Budgets hold against a plain model, whatever is done to them, in whatever order."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from keys.budget_machine import BudgetMachine
from servers.engines import SEALING_KEY
from servers.postgresql import PostgresServer

from nodus_ledger.sealing import KEY_VARIABLE

ALIKE = settings(
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def test_no_sequence_passes_the_cap_or_refuses_what_fits() -> None:
    """Never over the cap, nothing refused that would fit, spent is the sum of what settled."""
    run_state_machine_as_test(
        lambda: BudgetMachine("sqlite://"),  # type: ignore[arg-type]  # anything that gives a machine will do
        settings=settings(ALIKE, max_examples=50),
    )


def test_nor_does_any_on_postgresql(
    postgres_server: PostgresServer, postgres_shared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few of them: each has a database of its own."""
    monkeypatch.setenv(KEY_VARIABLE, SEALING_KEY)
    names: list[str] = []

    def machine() -> BudgetMachine:
        while names:
            postgres_server.drop_database(names.pop())
        names.append(postgres_server.create_database(postgres_shared))
        return BudgetMachine(postgres_server.url(names[0]))

    run_state_machine_as_test(machine, settings=settings(ALIKE, max_examples=8))  # type: ignore[arg-type]  # as above
