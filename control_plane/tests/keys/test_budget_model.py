"""Budgets hold against a plain model, whatever is done to them, in whatever order."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from keys.budget_machine import BudgetMachine
from servers.engines import SEALING_KEY
from servers.postgresql import PostgresServer

from nodus_ledger.database.sealing import KEY_VARIABLE

ALIKE = settings(stateful_step_count=30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
LONG = settings(ALIKE, stateful_step_count=60, derandomize=False, print_blob=True)

MakeUrl = Callable[[], str]


def hold_against_the_model(make_url: MakeUrl, how: settings) -> None:
    """Run sequences, each on a database of its own."""
    run_state_machine_as_test(
        lambda: BudgetMachine(make_url()),  # type: ignore[arg-type]  # anything that gives a machine will do
        settings=how,
    )


@pytest.fixture
def new_postgresql(postgres_server: PostgresServer, postgres_shared: str, monkeypatch: pytest.MonkeyPatch) -> MakeUrl:
    """Makes one database after the other: the one before is dropped."""
    monkeypatch.setenv(KEY_VARIABLE, SEALING_KEY)
    names: list[str] = []

    def make() -> str:
        while names:
            postgres_server.drop_database(names.pop())
        names.append(postgres_server.create_database(postgres_shared))
        return postgres_server.url(names[0])

    return make


def test_no_sequence_passes_the_cap_or_refuses_what_fits() -> None:
    """Never over the cap, nothing refused that would fit, spent is the sum of what settled."""
    hold_against_the_model(lambda: "sqlite://", settings(ALIKE, max_examples=10))


def test_nor_does_any_on_postgresql(new_postgresql: MakeUrl) -> None:
    """A few of them: a database takes longer to make there."""
    hold_against_the_model(new_postgresql, settings(ALIKE, max_examples=3))


@pytest.mark.soak
def test_no_long_sequence_does() -> None:
    """Others each time; hypothesis prints how to run one again."""
    hold_against_the_model(lambda: "sqlite://", settings(LONG, max_examples=400))


@pytest.mark.soak
def test_nor_does_a_long_one_on_postgresql(new_postgresql: MakeUrl) -> None:
    """Likewise."""
    hold_against_the_model(new_postgresql, settings(LONG, max_examples=60))
