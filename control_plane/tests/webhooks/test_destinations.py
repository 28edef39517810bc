"""From a URL to a connection: names are looked up and judged twice, and what was judged is what is connected to."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest
from patience import PATIENCE_SECONDS
from scarcity import no_thread
from webhooks.certificates import make_certificates
from webhooks.receiver import Answer, Receiver

import nodus
from nodus_control.clock import ManualClock
from nodus_control.control_plane import ControlPlane
from nodus_control.webhooks.addresses import LOOPBACK, AddressRefused, Allowed, parse_allowed
from nodus_control.webhooks.lookups import Lookups
from nodus_control.webhooks.resolving import Destinations, NameNotResolved
from nodus_control.webhooks.sending import Sender
from nodus_control.webhooks.service import WebhookOptions
from nodus_control.webhooks.urls import parse_url
from nodus_core.spec import parse_spec
from nodus_core.webhook_retries import Outcome
from nodus_ledger.keys.keys import PrincipalKind

pytestmark = pytest.mark.anyio

ON_LOOPBACK = parse_allowed(LOOPBACK)
SECRETS = ("whsec_test",)


@pytest.fixture
def anyio_backend() -> str:
    """Deliveries run on asyncio alone."""
    return "asyncio"


@pytest.fixture(autouse=True)
def no_lookup_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the machine takes, registration waits for what the script answers."""
    monkeypatch.setattr("nodus_control.webhooks.resolving.REGISTRATION_SECONDS", PATIENCE_SECONDS)


class ScriptedNames:
    """Answers lookups in order, the last answer for ever, and counts them."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    def __call__(self, name: str, port: int) -> Sequence[str]:
        self.asked.append((name, port))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if not answer:
            raise socket.gaierror("no such name")
        return answer


async def attempt(
    url: str, names: ScriptedNames, allowed: Allowed = ON_LOOPBACK, timeout: float = PATIENCE_SECONDS
) -> Outcome:
    """Make one attempt."""
    sender = Sender(Destinations(allowed, names), timeout_seconds=timeout)
    return await sender.send(url, b"{}", SECRETS)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "64:ff9b::a00:1", "::ffff:127.0.0.1"])
async def test_a_name_that_leads_inside_is_refused_at_registration(address: str) -> None:
    """A host name is judged by the addresses that it resolves to."""
    destinations = Destinations(Allowed(), ScriptedNames(["8.8.8.8", address]))

    with pytest.raises(AddressRefused) as refused:
        await destinations.check("https://hooks.example.com/", "acme")
    assert address not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://017700000001/",
        "https://127.0.0.1./",
        "https://0/",
        "https://0X7F.0x1/",
        "https://[::]/",
        "https://[::FFFF:7F00:0001]/",
        "https://[fec0::1]/",
        "https://[2001:0:7f00:1::]/",
        "https://224.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:7f00:1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://me.localhost/",
        "http://8.8.8.8/",
        "http://hooks.example.com/",
    ],
)
async def test_addresses_are_judged_without_a_lookup(url: str) -> None:
    """In whatever spelling, and for `http` in every case."""
    names = ScriptedNames(["8.8.8.8"])

    with pytest.raises(AddressRefused):
        await Destinations(Allowed(), names).check(url, "acme")
    assert [name for name, _ in names.asked if name != "hooks.example.com"] == []


@pytest.mark.parametrize("name", ["localhost", "LocalHost.", "hooks.localhost", "hooks.localhost."])
async def test_this_machine_is_found_under_its_names(name: str) -> None:
    """As the system's own resolver looks them up."""
    with pytest.raises(AddressRefused):
        await Destinations(Allowed()).check(f"https://{name}/", "acme")


async def test_a_name_that_is_not_known_yet_can_be_registered() -> None:
    """It is judged before anything is sent; `http` has to be seen to stay on this machine."""
    destinations = Destinations(ON_LOOPBACK, ScriptedNames([]))

    await destinations.check("https://hooks.acme.internal/nodus", "acme")
    with pytest.raises(AddressRefused):
        await destinations.check("http://hooks.acme.internal/nodus", "acme")


async def test_a_lookup_that_hangs_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registration does not wait for a name server that does not answer."""
    monkeypatch.setattr("nodus_control.webhooks.resolving.REGISTRATION_SECONDS", 0.01)
    release = threading.Event()

    def hang(_name: str, _port: int) -> Sequence[str]:
        release.wait()
        return []

    await Destinations(Allowed(), hang).check("https://hooks.example.com/", "acme")
    release.set()


async def test_what_is_judged_again_before_sending_is_all_that_a_name_leads_to() -> None:
    """One address of several is enough to refuse; none at all is told apart."""
    mixed = Destinations(Allowed(), ScriptedNames(["8.8.8.8", "10.0.0.1"]))
    with pytest.raises(AddressRefused):
        await mixed.find(parse_url("https://hooks.example.com/"))

    with pytest.raises(NameNotResolved):
        await Destinations(Allowed(), ScriptedNames([])).find(parse_url("https://hooks.example.com/"))

    fine = Destinations(Allowed(), ScriptedNames(["8.8.8.8", "::ffff:1.1.1.1"]))
    assert await fine.find(parse_url("https://hooks.example.com/")) == [
        ipaddress.ip_address("8.8.8.8"),
        ipaddress.ip_address("1.1.1.1"),
    ]


async def test_a_name_that_is_pointed_inside_after_its_registration_is_refused(receiver: Receiver) -> None:
    """DNS rebinding, between registration and attempt: nothing arrives."""
    names = ScriptedNames(["93.184.216.34"], ["127.0.0.1"])
    destinations = Destinations(Allowed(), names)
    url = f"https://rebind.example.com:{receiver.port}/nodus"
    await destinations.check(url, "acme")

    outcome = await Sender(destinations).send(url, b"{}", SECRETS)

    assert (outcome.status_code, outcome.error) == (None, "address_not_allowed")
    assert receiver.requests == []


async def test_the_connection_goes_to_the_address_that_was_judged(receiver: Receiver) -> None:
    """DNS rebinding, between check and connect: there is no second lookup that could answer otherwise."""
    names = ScriptedNames(["127.0.0.1"], ["10.0.0.1"])

    outcome = await attempt(f"http://rebind.example.com:{receiver.port}/nodus", names)

    assert outcome.status_code == 204
    assert names.asked == [("rebind.example.com", receiver.port)]
    assert receiver.requests[0].headers["host"] == f"rebind.example.com:{receiver.port}"


async def test_proxies_of_the_environment_are_ignored(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would look the name up by itself."""
    with Receiver() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        outcome = await attempt(receiver.url, ScriptedNames([]))

        assert outcome.status_code == 204
        assert proxy.requests == []


async def test_the_next_address_is_tried_where_one_does_not_answer(receiver: Receiver) -> None:
    """A name with several addresses is reached by any of them."""
    outcome = await attempt(f"http://a.test:{receiver.port}/", ScriptedNames(["127.0.0.2", "127.0.0.1"]))

    assert outcome.status_code == 204
    assert len(receiver.requests) == 1


async def test_an_attempt_ends_with_its_time(receiver: Receiver) -> None:
    """Whether the endpoint says nothing, or its name server does."""
    release = threading.Event()
    receiver.always(Answer(first=release.wait))

    def hang(_name: str, _port: int) -> Sequence[str]:
        release.wait()
        return []

    silent = await attempt(receiver.url, ScriptedNames([]), timeout=0.2)
    unknown = await Sender(Destinations(ON_LOOPBACK, hang), timeout_seconds=0.2).send("https://a.test/", b"", SECRETS)
    release.set()

    assert (silent.status_code, silent.error) == (None, "timed_out")
    assert (unknown.status_code, unknown.error) == (None, "timed_out")


async def test_what_is_no_http_is_no_answer() -> None:
    """And nobody who listens is told apart from one who hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                # All of it: hanging up on the rest would break the connection before the answer is read.
                received = b""
                while not received.endswith(b"\r\n\r\n{}"):
                    received += connection.recv(65_536)
                connection.sendall(b"SSH-2.0-OpenSSH_9.0\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        garbled = await attempt(f"http://127.0.0.1:{port}/", ScriptedNames([]))
        thread.join()
    with socket.socket() as deaf:
        # Nobody else can listen there.
        deaf.bind(("127.0.0.1", 0))
        refused = await attempt(f"http://127.0.0.1:{deaf.getsockname()[1]}/", ScriptedNames([]))

    assert (garbled.status_code, garbled.error) == (None, "no_valid_answer")
    assert (refused.status_code, refused.error) == (None, "connection_failed")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """An authority, and what a server of `hooks.test` serves with."""
    return make_certificates(tmp_path_factory.mktemp("certificates"), "hooks.test")


async def test_tls_is_with_the_name_and_not_with_the_address(certificates: tuple[Path, ssl.SSLContext]) -> None:
    """The certificate has to be the name's, although an address is connected to."""
    authority, serving = certificates
    asked: list[str | None] = []
    serving.sni_callback = lambda _socket, name, _context: asked.append(name)
    trusted = ssl.create_default_context(cafile=str(authority))
    with Receiver(serving) as receiver:
        sender = Sender(Destinations(ON_LOOPBACK, ScriptedNames(["127.0.0.1"])), trusted=lambda: trusted)
        right = await sender.send(f"https://hooks.test:{receiver.port}/nodus", b"{}", SECRETS)
        wrong = await sender.send(f"https://other.test:{receiver.port}/nodus", b"{}", SECRETS)
        unknown = await Sender(Destinations(ON_LOOPBACK, ScriptedNames(["127.0.0.1"]))).send(
            f"https://hooks.test:{receiver.port}/nodus", b"{}", SECRETS
        )

    assert (right.status_code, right.error) == (204, None)
    assert (wrong.status_code, wrong.error) == (None, "tls_failed")
    assert (unknown.status_code, unknown.error) == (None, "tls_failed")
    assert asked == ["hooks.test", "other.test", "hooks.test"]
    assert len(receiver.requests) == 1


def test_a_delivery_to_a_name_that_turned_inside_is_retried_and_then_failed(receiver: Receiver) -> None:
    """The attempt is recorded like any other; the endpoint never hears of it."""
    names = ScriptedNames(["93.184.216.34"], ["127.0.0.1"])
    control_plane = ControlPlane(clock=ManualClock(), webhooks=WebhookOptions(resolve=names))
    try:
        url = f"https://rebind.test:{receiver.port}/"
        anyio.run(control_plane.webhooks.destinations.check, url, "acme")
        hook = control_plane.webhooks.endpoints.register("acme", url, ["job.placed"], None, control_plane.clock.now())
        key = submit(control_plane)
        control_plane.advance(2 * 3600)
        (delivery,) = control_plane.webhooks.deliveries.page(key, hook.endpoint.id, limit=5, cursor=None).deliveries
    finally:
        control_plane.close()

    assert delivery.status == "failed"
    assert [each.error for each in delivery.attempts] == ["address_not_allowed"] * 5
    assert receiver.requests == []


def submit(control_plane: ControlPlane) -> str:
    """Submit a job of a new customer; return the customer."""
    minted = control_plane.keys.mint(
        customer_id="acme", label="", principal_kind=PrincipalKind.SERVICE, now=control_plane.clock.now(), is_test=True
    )
    key = control_plane.keys.find(minted.api_key)
    assert key is not None
    control_plane.jobs.submit(key, parse_spec({"image": "a/b", "gpu": "l40s"}), None, control_plane.clock.now())
    return key.customer_id


async def test_names_that_nobody_answers_for_keep_no_other_from_being_found() -> None:
    """A silent name server holds up its own names: as many as attempts may wait for them."""
    release = threading.Event()

    def resolve(name: str, port: int) -> Sequence[str]:
        if name.startswith("silent"):
            release.wait()
        return ["127.0.0.1"]

    destinations = Destinations(ON_LOOPBACK, resolve)
    found: Sequence[object] = ()
    try:
        with anyio.fail_after(PATIENCE_SECONDS):
            async with anyio.create_task_group() as tasks:
                for number in range(300):
                    tasks.start_soon(destinations.find, parse_url(f"https://silent-{number}.test/"))
                found = await destinations.find(parse_url("https://good.test/"))
                tasks.cancel_scope.cancel()
    finally:
        release.set()

    assert [str(address) for address in found] == ["127.0.0.1"]


def test_signatures_are_made_at_real_time(receiver: Receiver) -> None:
    """A receiver compares them with its own clock, not with the control plane's."""
    sender = Sender(Destinations(ON_LOOPBACK, ScriptedNames([])), real_time=lambda: 1_700_000_000.9)
    anyio.run(sender.send, receiver.url, b"{}", ("one", "two"))
    (request,) = receiver.requests

    assert str(request.signature).endswith(",ts=1700000000")
    for secret in ("one", "two"):
        assert nodus.verify_webhook(
            signing_secret=secret,
            method="POST",
            path="/nodus",
            body=b"{}",
            signature_header=request.signature,
            now=1_700_000_100,
        )


async def test_a_lookup_for_which_there_is_no_thread_takes_no_place() -> None:
    """However many there were: the places are for those that run."""
    lookups = Lookups(ScriptedNames(["8.8.8.8"]), places=1, of_one=1)
    with no_thread("nodus-lookup"):
        found = [await lookups.find("acme", "hooks.example.com", 443, PATIENCE_SECONDS) for _ in range(3)]
    later = await lookups.find("acme", "hooks.example.com", 443, PATIENCE_SECONDS)

    assert found == [[], [], []]
    assert later == ["8.8.8.8"]
