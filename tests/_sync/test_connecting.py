# Generated from tests/_async/test_connecting.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""From a base URL to a connection: names that take long, names of this machine, and addresses that are dead."""

from __future__ import annotations

import time

import pytest

import nodus
from tests._sync.clients import API_KEY
from tests.support.names import dead_address, give_names, silent_resolver
from tests.support.server import LoopbackServer, answer, unused_port

JOB = {"id": "job-1", "status": "running"}

PATIENCE_SECONDS = 120.0


def client_of(port: int, host: str = "api.test", **options: float) -> nodus.Client:
    """A client of a named server, that tries once."""
    settings = {"timeout": PATIENCE_SECONDS, "max_retries": 0, **options}
    return nodus.Client(API_KEY, base_url=f"http://{host}:{port}", **settings)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `http://api.test` do."""
    monkeypatch.setenv("NODUS_ALLOW_INSECURE", "1")


@pytest.mark.parametrize("limit", ["timeout", "total_timeout"])
def test_a_name_that_takes_long_is_waited_for_within_the_timeout(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a timeout like any other, and nothing was sent."""
    with silent_resolver(monkeypatch):
        with client_of(80, **{limit: 0.1}) as client:
            with pytest.raises(nodus.APITimeoutError) as caught:
                client.run(image="i")

    assert not caught.value.outcome_unknown


def test_a_name_that_nobody_has_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    give_names(monkeypatch)
    with client_of(80) as client:
        with pytest.raises(nodus.APIConnectionError, match=r"the name api\.test cannot be resolved: .*not known"):
            client.healthz()


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "gpu.team.localhost"])
def test_names_of_this_machine_are_not_asked_of_dns(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever answers for DNS would else be sent the key over plain http; the `Host` header stays."""
    names = give_names(monkeypatch)
    with LoopbackServer(then=answer(200, JOB)) as server:
        with client_of(server.port, host) as client:
            assert (client.get("job-1")).id == "job-1"

    assert names.asked == []
    assert [received.header("host") for received in server.received] == [f"{host}:{server.port}"]


def test_a_dead_address_costs_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next is tried beside it (RFC 8305), long before the timeout."""
    with LoopbackServer(then=answer(200, JOB)) as server, dead_address(server.port) as dead:
        give_names(monkeypatch, api_test=[dead, "127.0.0.1"])
        began = time.monotonic()
        with client_of(server.port) as client:
            assert (client.get("job-1")).id == "job-1"
        took = time.monotonic() - began

    assert server.connections == 1
    assert took < PATIENCE_SECONDS / 2


def test_an_address_that_refuses_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where it is one of many."""
    with LoopbackServer(then=answer(200, JOB)) as server:
        refusing = [f"127.0.0.{number}" for number in range(10, 40)]
        give_names(monkeypatch, api_test=["::1", *refusing, "127.0.0.1"])
        with client_of(server.port) as client:
            assert (client.get("job-1")).id == "job-1"
            assert (client.get("job-1")).id == "job-1"

    assert server.connections == 1


def test_dead_addresses_alone_are_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where others refused: it is time that was lacking."""
    with unused_port() as port, dead_address(port) as dead:
        give_names(monkeypatch, api_test=["127.0.0.3", dead])
        with client_of(port, timeout=0.3) as client:
            with pytest.raises(nodus.APITimeoutError):
                client.healthz()


def test_addresses_that_all_refuse_are_a_failed_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with unused_port() as port:
        give_names(monkeypatch, api_test=["127.0.0.1", "127.0.0.3"])
        with client_of(port) as client:
            with pytest.raises(nodus.APIConnectionError) as caught:
                client.run(image="i")

    assert not isinstance(caught.value, nodus.APITimeoutError)
    assert not caught.value.outcome_unknown
