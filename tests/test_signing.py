"""The v1 signature scheme, against vectors made with OpenSSL, and against whatever a sender may make up."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import nodus

FILE = json.loads((Path(__file__).parent / "vectors" / "signing.json").read_text(encoding="utf-8"))
VECTORS: list[dict[str, Any]] = FILE["vectors"]
DELIVERY = next(vector for vector in VECTORS if vector["name"] == "webhook delivery")


def body_of(vector: dict[str, Any]) -> bytes:
    """The bytes that a vector signs."""
    return base64.b64decode(vector["body_base64"])


def accepts(vector: dict[str, Any] = DELIVERY, **changes: Any) -> bool:
    """Whether a vector verifies, with some of its facts changed."""
    facts: dict[str, Any] = {
        "signing_secret": vector["secret"],
        "method": vector["method"],
        "path": vector["path"],
        "body": body_of(vector),
        "signature_header": vector["header"],
        "now": vector["ts"],
    }
    return nodus.verify_webhook(**{**facts, **changes})


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_request_is_signed_as_openssl_signs_it(vector: dict[str, Any]) -> None:
    """The header is the vector's, byte for byte, and it is the only one given."""
    headers = nodus.sign_request(
        signing_secret=vector["secret"],
        method=vector["method"],
        path=vector["path"],
        body=body_of(vector),
        now=vector["ts"],
    )

    assert headers == {"Nodus-Signature": vector["header"]}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_what_was_signed_verifies(vector: dict[str, Any]) -> None:
    """Requests and deliveries are signed in the same way."""
    assert accepts(vector)


@pytest.mark.parametrize("header", FILE["accept"])
def test_a_well_formed_header_is_accepted(header: str) -> None:
    """Parts may stand in any order, with spaces, several signatures and unknown parts."""
    assert accepts(signature_header=header)


@pytest.mark.parametrize("header", FILE["reject"], ids=range(len(FILE["reject"])))
def test_a_malformed_header_is_rejected(header: str) -> None:
    """The result is False, never an exception."""
    assert not accepts(signature_header=header)


@pytest.mark.parametrize("case", FILE["tolerance"], ids=lambda case: str(case["now"] - DELIVERY["ts"]))
def test_a_signature_is_good_for_five_minutes_in_both_directions(case: dict[str, Any]) -> None:
    """Neither an old one nor one from the future passes."""
    assert accepts(now=case["now"]) is case["valid"]


@pytest.mark.parametrize(("tolerance", "age", "expected"), [(0, 0, True), (0, 1, False), (600, 600, True)])
def test_the_tolerance_can_be_chosen(tolerance: float, age: int, expected: bool) -> None:
    """It is given in seconds; zero accepts this second only."""
    assert accepts(tolerance_seconds=tolerance, now=DELIVERY["ts"] + age) is expected


@pytest.mark.parametrize(
    "change",
    [
        {"signing_secret": DELIVERY["secret"] + "x"},
        {"signing_secret": DELIVERY["secret"].upper()},
        {"method": "PUT"},
        {"path": "/nodus/"},
        {"path": "/Nodus"},
        {"body": body_of(DELIVERY) + b" "},
        {"body": b""},
        {"signature_header": None},
        {"signature_header": DELIVERY["header"].upper()},
        {"signature_header": DELIVERY["header"].replace("ts=1767225603", "ts=1767225602")},
        {"signature_header": b"" + DELIVERY["header"].encode()},
    ],
)
def test_one_spoilt_thing_spoils_the_signature(change: dict[str, Any]) -> None:
    """The timestamp, the method, the path and the body are all signed."""
    assert not accepts(**change)


@pytest.mark.parametrize("secret", [f"whsec_{number}" for number in range(3)])
def test_any_of_several_secrets_will_do(secret: str) -> None:
    """While a secret is rotated, deliveries are signed with either."""
    header = nodus.sign_request(signing_secret=secret, method="POST", path="/nodus", now=0)["Nodus-Signature"]
    secrets = [f"whsec_{number}" for number in range(3)]

    def verify(given: Any) -> bool:
        return nodus.verify_webhook(
            signing_secret=given, method="post", path="/nodus", body=b"", signature_header=header, now=0
        )

    assert verify(secrets)
    assert verify(iter(secrets))
    assert not verify([one for one in secrets if one != secret])
    assert not verify([])


def test_every_signature_is_compared_with_every_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """In constant time, and whichever is right: how long it takes says nothing about which one was."""
    compared: list[bool] = []

    def compare_digest(one: Any, other: Any) -> bool:
        compared.append(hmac.compare_digest(one, other))
        return compared[-1]

    monkeypatch.setattr("nodus._signing.hmac", SimpleNamespace(compare_digest=compare_digest))
    wrong = f"v1={'0' * 64}"
    header = f"{wrong},{DELIVERY['header']},{wrong}"

    assert accepts(signing_secret=[DELIVERY["secret"], "whsec_other"], signature_header=header)
    assert (len(compared), compared.count(True)) == (6, 1)


@pytest.mark.parametrize("count", [1, 5, 6])
def test_up_to_five_signatures_are_compared(count: int) -> None:
    """A sixth is ignored, even if it is right."""
    wrong, right = f"v1={'0' * 64}", DELIVERY["header"]

    for place in range(count):
        parts = [wrong] * (count - 1)
        parts.insert(place, right)
        assert accepts(signature_header=",".join(parts)) is (count <= 5)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (",a=b" * 14, True),
        (",a=b" * 15, False),
        (",a=" + "x" * (1024 - len(DELIVERY["header"]) - 3), True),
        (",a=" + "x" * (1024 - len(DELIVERY["header"]) - 2), False),
        (",A=b", False),
        (",a", False),
        (",=b", False),
        (",", False),
        (",v1=", False),
        (",ts=1767225603", False),
        (", a=b=c ", True),
    ],
)
def test_a_header_has_its_limits(extra: str, expected: bool) -> None:
    """Sixteen parts and one KiB; a part is `name=value` with a lower-case name."""
    assert accepts(signature_header=DELIVERY["header"] + extra) is expected


@pytest.mark.parametrize("stamp", ["0" * 13, "", "-1", "+1", " 1", "1e3", "0x1", "١", "²", "1\n"])
def test_a_timestamp_is_ascii_digits_and_nothing_else(stamp: str) -> None:
    """It has at most twelve, and other forms that `int()` accepts are refused."""
    mac = hmac.new(b"k", f"{stamp}.GET./.{hashlib.sha256(b'').hexdigest()}".encode(), "sha256").hexdigest()

    assert not nodus.verify_webhook(
        signing_secret="k", method="GET", path="/", body=b"", signature_header=f"v1={mac},ts={stamp}", now=1
    )


@pytest.mark.parametrize(
    "path", ["", "v1/jobs", "/v1/jobs?limit=1", "/a#b", "/a b", "/a\n", "/a\0", "/é", "https://api.nodus.run/v1/jobs"]
)
def test_a_path_that_is_no_path_is_refused_in_signing_and_fails_in_verifying(path: str) -> None:
    """The one who signs is told; the one who verifies must not be crashed by it."""
    with pytest.raises(nodus.ValidationError) as caught:
        nodus.sign_request(signing_secret="k", method="GET", path=path)

    assert caught.value.code == "invalid_path"
    assert isinstance(caught.value, ValueError)
    assert not accepts(path=path)


@pytest.mark.parametrize("body", ["text", {"a": 1}, None, 7])
def test_only_the_raw_body_can_be_signed_or_verified(body: Any) -> None:
    """What was parsed and written again is not what was signed."""
    with pytest.raises(TypeError, match="raw request body"):
        nodus.sign_request(signing_secret="k", method="POST", path="/", body=body)
    with pytest.raises(TypeError, match="raw request body"):
        accepts(body=body)


@pytest.mark.parametrize("buffer", [bytearray, memoryview])
def test_any_buffer_is_a_body(buffer: Any) -> None:
    """Frameworks pass bytes, bytearrays or memoryviews."""
    assert accepts(body=buffer(body_of(DELIVERY)))


def test_an_empty_secret_neither_signs_nor_verifies() -> None:
    """Anybody can sign with it, so a setting that was lost must not pass unnoticed."""
    with pytest.raises(nodus.ValidationError) as signing:
        nodus.sign_request(signing_secret="", method="GET", path="/")
    with pytest.raises(nodus.ValidationError) as verifying:
        accepts(signing_secret="")

    assert [signing.value.code, verifying.value.code] == ["invalid_signing_secret"] * 2


@pytest.mark.parametrize("method", [None, b"POST", 7])
def test_a_method_is_text(method: Any) -> None:
    """Any other type is a mistake in the program."""
    with pytest.raises(TypeError, match="method"):
        nodus.sign_request(signing_secret="k", method=method, path="/")


@pytest.mark.parametrize("thing", [None, 7, b"/nodus"])
def test_what_is_no_text_fails_in_verifying(thing: Any) -> None:
    """It fails in the same way as a wrong path or method."""
    assert not accepts(path=thing)
    assert not accepts(method=thing)
    with pytest.raises(nodus.ValidationError):
        nodus.sign_request(signing_secret="k", method="GET", path=thing)


def test_a_secret_that_is_not_set_is_named() -> None:
    """`os.environ.get` gives None for a missing variable."""
    with pytest.raises(TypeError, match="signing_secret"):
        accepts(signing_secret=None)


@pytest.mark.parametrize("secret", [b"bytes", 7, None])
def test_a_secret_is_text(secret: Any) -> None:
    """The key is the whole text, prefix included."""
    with pytest.raises(TypeError):
        nodus.sign_request(signing_secret=secret, method="GET", path="/")
    with pytest.raises(TypeError):
        accepts(signing_secret=secret)


def test_the_time_is_now_unless_given() -> None:
    """The default is the present time, for signing and for verifying."""
    request: dict[str, Any] = {"signing_secret": "k", "method": "POST", "path": "/v1/jobs", "body": b"{}"}

    header = nodus.sign_request(**request)["Nodus-Signature"]

    assert nodus.verify_webhook(**request, signature_header=header)
    assert not nodus.verify_webhook(**request, signature_header=header, now=0)


def test_a_fraction_of_a_second_is_cut_off() -> None:
    """The timestamp is whole seconds."""
    header = nodus.sign_request(signing_secret="k", method="GET", path="/", now=1767225600.999)["Nodus-Signature"]

    assert header.endswith(",ts=1767225600")


@example(secret="s" * 64, method="GET", path="/", body=b"", now=0)
@example(secret="s" * 65, method="GET", path="/", body=b"", now=0)
@given(
    secret=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100),
    method=st.sampled_from(["GET", "post", "Delete"]),
    path=st.from_regex(r"/[a-zA-Z0-9/_.~%-]{0,40}", fullmatch=True),
    body=st.binary(max_size=200),
    now=st.integers(0, 10**12 - 1),
)
def test_signing_is_plain_hmac(secret: str, method: str, path: str, body: bytes, now: int) -> None:
    """The prepared key gives what the standard library gives, for keys shorter and longer than a block."""
    signed = f"{now}.{method.upper()}.{path}.{hashlib.sha256(body).hexdigest()}"
    mac = hmac.new(secret.encode(), signed.encode(), "sha256").hexdigest()
    request: dict[str, Any] = {"signing_secret": secret, "method": method, "path": path, "body": body, "now": now}

    header = nodus.sign_request(**request)["Nodus-Signature"]

    assert header == f"v1={mac},ts={now}"
    assert nodus.verify_webhook(**request, signature_header=header)


PARTS = st.one_of(
    st.just(DELIVERY["header"].split(",")[0]),
    st.just(DELIVERY["header"].split(",")[1]),
    st.text(max_size=20),
    st.text("v1ts=0123456789abcdef ", max_size=80),
)


@given(header=st.none() | st.text(max_size=1200) | st.lists(PARTS, max_size=20).map(",".join))
def test_no_header_makes_verifying_raise(header: str | None) -> None:
    """The result is a bool for any header."""
    assert accepts(signature_header=header) in (True, False)


@given(path=st.text(max_size=50), body=st.binary(max_size=50))
def test_no_path_or_body_makes_verifying_raise(path: str, body: bytes) -> None:
    """The result is False for all that was not signed."""
    assert accepts(path=path, body=body) is ((path, body) == (DELIVERY["path"], body_of(DELIVERY)))


def test_a_signer_does_not_show_its_secret() -> None:
    """Its repr does not contain it."""
    from nodus._signing import Signer

    assert repr(Signer("sgn_very_secret")) == "Signer(…)"
    assert copy.copy(FILE["vectors"]) == VECTORS
