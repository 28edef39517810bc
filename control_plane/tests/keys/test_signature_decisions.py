"""What the server decides about signatures: a test for each line of the protocol's table, over HTTP."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from keys.callers import SPEC, WEBHOOK, code_of
from patience import PATIENCE_SECONDS

import nodus
from nodus._concurrency import Clock
from nodus_control.testing import LocalControlPlane
from nodus_ledger.keys.keys import MintedKey, PrincipalKind

NOW = 1_800_000_000
INVALID = (401, "signature_invalid")
STALE = (401, "signature_stale")
REPLAYED = (409, "signature_replayed")
UNEXPECTED_QUERY = (400, "unexpected_query")


class Service:
    """A service whose key must sign, with an HTTP stack of its own."""

    def __init__(self, control_plane: LocalControlPlane, minted: MintedKey) -> None:
        assert minted.signing_secret is not None
        self.control_plane = control_plane
        self.minted = minted
        self.secret = minted.signing_secret
        self.http = httpx.Client(
            base_url=control_plane.base_url,
            headers={"Authorization": f"Bearer {minted.api_key}"},
            trust_env=False,
            timeout=PATIENCE_SECONDS,
        )

    def mac(self, signed: str) -> str:
        """Sign a text, by the standard library alone."""
        return hmac.new(self.secret.encode(), signed.encode(), "sha256").hexdigest()

    def header(self, method: str, path: str, body: bytes = b"", ts: str = str(NOW)) -> str:
        """The header of a request, made by hand."""
        return f"v1={self.mac(f'{ts}.{method}.{path}.{hashlib.sha256(body).hexdigest()}')},ts={ts}"

    def send(self, method: str, target: str, body: bytes = b"", *, header: str | None = None) -> httpx.Response:
        """Make a request, with the signature that belongs to it unless another is given."""
        signature = self.header(method, target.partition("?")[0], body) if header is None else header
        return self.http.request(method, target, content=body, headers={"Nodus-Signature": signature})


@pytest.fixture(scope="module")
def one_control_plane() -> Iterator[LocalControlPlane]:
    """A playground for all of these tests, each of which is a customer of its own."""
    with LocalControlPlane() as started:
        yield started


@pytest.fixture
def service(
    one_control_plane: LocalControlPlane, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Service]:
    """A service, at a server whose real time stands."""
    monkeypatch.setattr("nodus_control.api.auth.time", SimpleNamespace(time=lambda: float(NOW)))
    minted = one_control_plane.plane.keys.mint(
        customer_id=request.node.name,
        label="service",
        principal_kind=PrincipalKind.SERVICE,
        now=one_control_plane.plane.clock.now(),
        signing_required=True,
        is_test=True,
    )
    made = Service(one_control_plane, minted)
    with made.http:
        yield made


def at(monkeypatch: pytest.MonkeyPatch, real_now: float) -> None:
    """Set the server's real time."""
    monkeypatch.setattr("nodus_control.api.auth.time", SimpleNamespace(time=lambda: real_now))


# path


def test_the_path_is_signed_as_it_was_sent(service: Service) -> None:
    """Percent-encoded or not, and nothing is made equal."""
    sent = "/v1/jobs/ab%20%C3%A9"
    decoded = service.send("GET", sent, header=service.header("GET", "/v1/jobs/ab é"))
    other_case = service.send("GET", sent, header=service.header("GET", "/v1/jobs/ab%20%c3%a9"))

    assert code_of(service.send("GET", sent)) == (404, "job_not_found")
    assert code_of(decoded) == code_of(other_case) == INVALID


# query strings


def test_a_query_is_no_part_of_what_is_signed(service: Service) -> None:
    """On a read it may be anything."""
    assert service.send("GET", "/v1/jobs?limit=1").status_code == 200
    assert code_of(service.send("GET", "/v1/jobs?limit=1", header=service.header("GET", "/v1/jobs?limit=1"))) == INVALID


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/jobs"),
        ("POST", "/v1/jobs/{job}/cancel"),
        ("POST", "/v1/webhooks"),
        ("DELETE", "/v1/webhooks/{webhook}"),
        ("POST", "/v1/webhooks/{webhook}/rotate"),
        ("POST", "/v1/webhooks/{webhook}/deliveries/x/replay"),
    ],
)
def test_what_writes_takes_no_query(service: Service, method: str, path: str) -> None:
    """It would not be covered; so it is for a key that need not sign."""
    job = json.loads(service.send("POST", "/v1/jobs", json.dumps(SPEC).encode()).text)
    webhook = json.loads(service.send("POST", "/v1/webhooks", json.dumps(WEBHOOK).encode()).text)
    target = path.format(job=job["id"], webhook=webhook["id"]) + "?gpu_count=8"
    body = b"{}" if method == "POST" else b""
    plain = service.http.request(
        method, target, content=body, headers={"Authorization": f"Bearer {service.control_plane.api_key}"}
    )

    assert code_of(service.send(method, target, body)) == code_of(plain) == UNEXPECTED_QUERY
    assert service.send("GET", f"/v1/webhooks/{webhook['id']}").status_code == 200


# method


def test_the_method_is_signed_in_upper_case(service: Service) -> None:
    """However the one who signs writes it."""
    signed = nodus.sign_request(signing_secret=service.secret, method="get", path="/v1/key", now=NOW)

    assert service.send("GET", "/v1/key", header=signed["Nodus-Signature"]).status_code == 200
    assert code_of(service.send("GET", "/v1/key", header=service.header("get", "/v1/key"))) == INVALID
    assert code_of(service.send("GET", "/v1/key", header=service.header("POST", "/v1/key"))) == INVALID


# no body


def test_no_body_is_zero_bytes(service: Service) -> None:
    """A read is signed over the hash of nothing, and of nothing else."""
    empty = hashlib.sha256(b"").hexdigest()
    signed = f"v1={service.mac(f'{NOW}.GET./v1/key.{empty}')},ts={NOW}"
    without = f"v1={service.mac(f'{NOW}.GET./v1/key.')},ts={NOW}"

    assert service.send("GET", "/v1/key", header=signed).status_code == 200
    assert code_of(service.send("GET", "/v1/key", header=without)) == INVALID
    assert code_of(service.send("GET", "/v1/key", b"x", header=signed)) == INVALID


def test_the_body_is_signed_to_the_byte(service: Service) -> None:
    """The same JSON written otherwise is another body."""
    body = json.dumps(SPEC).encode()
    header = service.header("POST", "/v1/jobs", body)

    assert code_of(service.send("POST", "/v1/jobs", body + b" ", header=header)) == INVALID
    assert code_of(service.send("POST", "/v1/jobs", json.dumps(SPEC, indent=1).encode(), header=header)) == INVALID
    assert service.send("POST", "/v1/jobs", body, header=header).status_code == 202


# header


WRONG = f"v1={'0' * 64}"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{v1},{ts}", 200),
        ("{ts},{v1}", 200),
        ("{v1}  ,  {ts}", 200),
        ("{v1},{ts},v2=abc,kid=a=b", 200),
        (f"{WRONG},{{v1}},{{ts}}", 200),
        (f"{WRONG},{WRONG},{WRONG},{WRONG},{{v1}},{{ts}}", 200),
        (f"{WRONG},{WRONG},{WRONG},{WRONG},{WRONG},{{v1}},{{ts}}", 401),
        ("{v1},{ts}," + ",".join(["a=b"] * 14), 200),
        ("{v1},{ts}," + ",".join(["a=b"] * 15), 401),
        ("{v1},{ts},a=" + "x" * 900, 200),
        ("{v1},{ts},a=" + "x" * 1000, 401),
        ("{v1},{ts},{ts}", 401),
        ("{v1}", 401),
        ("{ts}", 401),
        ("{v1};{ts}", 401),
        ("{v1},{ts},", 401),
        ("{v1},{ts},a", 401),
        ("{v1}, ts = 1800000000", 401),
        ("{v1},\t{ts}", 401),
        ("V1{v1[2:]},{ts}", 401),
        ("{v1},TS{ts[2:]}", 401),
        ("{upper},{ts}", 401),
        ("{v1}0,{ts}", 401),
        ("", 401),
    ],
)
def test_how_a_header_may_be_written(service: Service, written: str, expected: int) -> None:
    """Any order, spaces around a part, up to five MACs, parts nobody knows; everything else is malformed."""
    v1, ts = service.header("GET", "/v1/key").split(",")
    for placeholder, text in {
        "{v1[2:]}": v1[2:],
        "{ts[2:]}": ts[2:],
        "{upper}": "v1=" + v1[3:].upper(),
        "{v1}": v1,
        "{ts}": ts,
    }.items():
        written = written.replace(placeholder, text)
    answer = service.send("GET", "/v1/key", header=written)

    assert answer.status_code == expected
    assert expected == 200 or answer.json()["error"] == "signature_invalid"


def test_the_header_comes_once(service: Service) -> None:
    """Two of them are none, even where both are right."""
    header = ("Nodus-Signature", service.header("GET", "/v1/key"))

    assert service.http.get("/v1/key", headers=[header]).status_code == 200
    assert code_of(service.http.get("/v1/key", headers=[header, header])) == INVALID


def test_a_missing_header_is_an_invalid_signature(service: Service) -> None:
    """There is no fourth code; and the health check asks for none."""
    assert code_of(service.http.get("/v1/key")) == INVALID
    assert service.http.get("/healthz").status_code == 200


# ts


@pytest.mark.parametrize(
    "stamp", ["", "0" * 3 + str(NOW), f"+{NOW}", f"-{NOW}", f"{NOW}.0", "1_800_000_000", "18e8", "0x6b49d200", "١" * 10]
)
def test_a_timestamp_is_ascii_digits(service: Service, stamp: str) -> None:
    """At most twelve: what `int()` would take besides is not taken, though its MAC be right."""
    header = service.header("GET", "/v1/key", ts=stamp)
    answer = service.http.get("/v1/key", headers=[(b"Nodus-Signature", header.encode())])

    assert code_of(answer) == INVALID


def test_leading_zeros_are_signed_as_they_are_written(service: Service) -> None:
    """Twelve digits are the most, and the MAC is over the text."""
    padded = f"00{NOW}"

    assert service.send("GET", "/v1/key", header=service.header("GET", "/v1/key", ts=padded)).status_code == 200
    assert (
        code_of(
            service.send("GET", "/v1/key", header=service.header("GET", "/v1/key").replace(f"ts={NOW}", f"ts={padded}"))
        )
        == INVALID
    )


# tolerance and clock


@pytest.mark.parametrize(
    ("ahead", "expected"), [(0, None), (300, None), (300.5, STALE), (-300, None), (-300.5, STALE), (-86_400, STALE)]
)
def test_five_minutes_are_allowed_in_both_directions(
    service: Service, monkeypatch: pytest.MonkeyPatch, ahead: float, expected: object
) -> None:
    """To the second, by real time; the message says by how much the clock is off."""
    at(monkeypatch, NOW + ahead)
    answer = service.send("GET", "/v1/key")

    assert expected == (None if answer.status_code == 200 else code_of(answer))
    if expected is not None:
        assert f" {abs(round(ahead))} s " in answer.json()["message"]
        assert answer.json()["skew_seconds"] == round(ahead)


@pytest.mark.parametrize("ahead", [-400, 400, -NOW])
def test_only_a_right_mac_is_called_stale(service: Service, monkeypatch: pytest.MonkeyPatch, ahead: int) -> None:
    """Who cannot sign learns nothing of the clock."""
    at(monkeypatch, NOW + ahead)
    header = service.header("GET", "/v1/key")[::-1].replace("=1v", "=1v", 1)[::-1].replace("v1=", "v1=0", 1)

    assert code_of(service.send("GET", "/v1/key", header=header)) == INVALID
    assert code_of(service.send("GET", "/v1/key", header=service.header("GET", "/v1/keys"))) == INVALID


def test_the_injected_clock_has_no_say(service: Service) -> None:
    """A day that was skipped makes no signature stale."""
    service.control_plane.advance(86_400)

    assert service.send("GET", "/v1/key").status_code == 200


# comparison


def test_every_mac_is_compared_in_constant_time(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with each of the key's secrets, whichever is right: how long it takes tells nothing."""
    control_plane = service.control_plane.plane
    control_plane.keys.rotate(service.minted.id, control_plane.clock.now(), NOW * 1000)
    compared: list[bool] = []

    def recorded(one: Any, other: Any) -> bool:
        compared.append(hmac.compare_digest(one, other))
        return compared[-1]

    monkeypatch.setattr("nodus._signing.hmac", SimpleNamespace(compare_digest=recorded))
    header = service.header("GET", "/v1/key")
    answer = service.send("GET", "/v1/key", header=f"{WRONG},{header},{WRONG}")

    assert answer.status_code == 200
    assert len(compared) == 6
    assert compared.count(True) == 1


# replay


def test_a_write_passes_once(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """For as long as its signature is good, however the header is written the second time."""
    created = service.send("POST", "/v1/webhooks", json.dumps(WEBHOOK).encode())
    body = json.dumps(WEBHOOK).encode()
    v1, ts = service.header("POST", "/v1/webhooks", body).split(",")
    again = [
        service.send("POST", "/v1/webhooks", body, header=header)
        for header in (f"{v1},{ts}", f"{ts}, {v1}", f"{WRONG},{v1},{ts},x=y")
    ]
    service.control_plane.advance(3600)
    at(monkeypatch, NOW + 300)
    again.append(service.send("POST", "/v1/webhooks", body))
    rotate = f"/v1/webhooks/{created.json()['id']}/rotate"
    rotated = [code_of(service.send("POST", rotate)) for _ in range(2)]

    assert created.status_code == 201
    assert [code_of(answer) for answer in again] == [REPLAYED] * 4
    assert {answer.headers["retry-after"] for answer in again} == {"1"}
    assert rotated == [(200, None), REPLAYED]


def test_what_is_idempotent_passes_again(service: Service) -> None:
    """A submission under its idempotency key, a cancel, a DELETE; and every read."""
    keyed = json.dumps({**SPEC, "idempotency_key": "k"}).encode()
    submitted = [service.send("POST", "/v1/jobs", keyed) for _ in range(2)]
    cancel = f"/v1/jobs/{submitted[0].json()['id']}/cancel"
    webhook = service.send("POST", "/v1/webhooks", json.dumps(WEBHOOK).encode()).json()
    delete = f"/v1/webhooks/{webhook['id']}"

    assert [answer.status_code for answer in submitted] == [202, 200]
    assert [service.send("POST", cancel).status_code for _ in range(2)] == [200, 200]
    assert [service.send("DELETE", delete).status_code for _ in range(2)] == [204, 404]
    assert [service.send("GET", "/v1/key").status_code for _ in range(2)] == [200, 200]


@pytest.mark.parametrize(("first", "second"), [(None, None), ("a", "b"), (None, "a"), ("a", None)])
def test_a_submission_without_the_same_key_does_not(service: Service, first: str | None, second: str | None) -> None:
    """The header is not signed: a thief could put any key there."""
    body = json.dumps(SPEC).encode()
    answers = [
        service.http.post(
            "/v1/jobs",
            content=body,
            headers={
                "Nodus-Signature": service.header("POST", "/v1/jobs", body),
                **({} if key is None else {"Idempotency-Key": key}),
            },
        )
        for key in (first, second)
    ]

    assert [answers[0].status_code, code_of(answers[1])] == [202, REPLAYED]


class StandingClock(Clock):
    """Real time that passes while somebody sleeps, and only then."""

    def __init__(self) -> None:
        self.time = float(NOW)
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def unix_time(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


def test_the_sdk_signs_afresh_and_succeeds(service: Service) -> None:
    """Two alike within a second: the second waits for the next one, and is told of nothing."""
    clock = StandingClock()
    with nodus.Client(
        service.minted.api_key, base_url=service.control_plane.base_url, signing_secret=service.secret, _clock=clock
    ) as client:
        webhook = client.webhooks.create("https://hooks.example.com/nodus", ["job.completed"])
        secrets = {client.webhooks.rotate(webhook.id).secret for _ in range(2)}

    assert len(secrets) == 2
    assert len(clock.slept) == 1
    assert clock.slept[0] >= 1.0


# hostile headers


right = "v1={mac},ts={ts}"
pieces = st.one_of(
    st.sampled_from(
        ["v1={mac}", "ts={ts}", "v1=", "ts=", "ts=-1", "v1=0", "a=b", "=", "", " ", "\x01", "v1={mac}=", "é"]
    ),
    st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=30),
)
hostile = st.one_of(
    st.lists(pieces, max_size=20).map(",".join),
    st.lists(pieces, max_size=6).map(lambda parts: ",".join([right, *parts])),
    st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=1200),
)


@settings(max_examples=200)
@example(header="v1={mac},ts={ts}", authorization="Bearer {key}", twice=True)
@example(header="v1={mac},ts=" + "9" * 400, authorization="Bearer {key}", twice=False)
@given(
    header=hostile,
    authorization=st.sampled_from(["Bearer {key}"] * 6 + ["bearer  {key} ", "Bearer", "Basic {key}", "{key}", "\xff"]),
    twice=st.booleans(),
)
def test_no_header_breaks_the_server(service: Service, header: str, authorization: str, twice: bool) -> None:
    """Never a 500, always the envelope, and nobody passes who did not sign."""
    facts = {
        "{mac}": service.header("GET", "/v1/key")[3:67],
        "{ts}": str(NOW),
        "{key}": service.minted.api_key,
    }
    for placeholder, text in facts.items():
        header, authorization = header.replace(placeholder, text), authorization.replace(placeholder, text)
    headers = [(b"Nodus-Signature", header.encode("latin-1"))] * (2 if twice else 1)
    request = httpx.Request(
        "GET",
        f"{service.control_plane.base_url}/v1/key",
        headers=[(b"Authorization", authorization.encode("latin-1")), *headers],
    )
    try:
        answer = service.http.send(request)
    except httpx.LocalProtocolError:
        return  # no HTTP client sends this

    # So many failures in a second are too many for one address.
    assert answer.status_code in (200, 400, 401, 429)
    assert answer.headers["x-request-id"]
    if answer.status_code == 400:
        assert answer.json()["error"] == "invalid_http"  # nothing that reached the application
    elif answer.status_code == 200:
        assert facts["{mac}"] in header
        assert not twice
    else:
        assert answer.json()["error"] in ("signature_invalid", "invalid_api_key", "rate_limited")
