"""`nodus sign` and `nodus verify`: secrets from the environment, bodies from a file or stdin."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

import nodus as sdk
from tests.cli.conftest import Command

SECRET = "sgn_0123"
BODY = b'{"image":"a"}\n'


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both secrets, and a body on stdin."""
    monkeypatch.setenv("NODUS_SIGNING_SECRET", SECRET)
    monkeypatch.setenv("NODUS_WEBHOOK_SECRET", SECRET)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(BODY)))


def verified(header: str, method: str, path: str, body: bytes) -> bool:
    return sdk.verify_webhook(signing_secret=SECRET, method=method, path=path, body=body, signature_header=header)


def test_a_signature_is_a_header_line(command: Command) -> None:
    """`curl -H "$(nodus sign …)"` sends it as it is."""
    result = command("sign", "post", "/v1/jobs")

    name, header = result.stdout.strip().split(": ")
    assert (result.status, name, result.stderr) == (0, "Nodus-Signature", "")
    assert verified(header, "POST", "/v1/jobs", BODY)


def test_a_line_break_after_the_secret_is_no_part_of_it(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client, which signs with the same variable, drops it too."""
    monkeypatch.setenv("NODUS_SIGNING_SECRET", f"{SECRET}\n")

    header = command("sign", "GET", "/v1/jobs").stdout.strip().split(": ")[1]

    assert verified(header, "GET", "/v1/jobs", b"")


def test_a_signature_as_json_is_the_headers(command: Command) -> None:
    """They are what `sign_request` returns."""
    headers = json.loads(command("sign", "POST", "/v1/jobs", "--json").stdout)

    assert verified(headers["Nodus-Signature"], "POST", "/v1/jobs", BODY)


def test_a_body_can_be_in_a_file(command: Command, tmp_path: Path) -> None:
    """It is read as bytes."""
    body = tmp_path / "body"
    body.write_bytes(b"\x00\r\n")

    result = command("sign", "DELETE", "/v1/x", "--body", str(body))

    assert verified(result.stdout.strip().split(": ")[1], "DELETE", "/v1/x", b"\x00\r\n")


def test_a_get_has_no_body(command: Command) -> None:
    """Stdin is not read."""
    result = command("sign", "GET", "/v1/jobs")

    assert verified(result.stdout.strip().split(": ")[1], "GET", "/v1/jobs", b"")
    assert sys.stdin.buffer.read() == BODY


def test_a_body_from_the_terminal_is_asked_for(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that waits for input says so."""
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)

    assert "Ctrl-D" in command("sign", "POST", "/v1/jobs").stderr


def test_without_a_standard_input_a_file_must_be_named(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell can close it: `<&-`."""
    monkeypatch.setattr(sys, "stdin", None)
    signing, verifying = command("sign", "POST", "/v1/jobs"), command("verify", "POST", "/x", "--signature", "v1=0")

    assert (signing.status, verifying.status) == (2, 2)
    assert "name a file" in signing.stderr


@pytest.mark.parametrize(
    "arguments", [["POST", "v1/jobs"], ["POST", "/v1/jobs?a=b"], ["POST"], ["GET", "/x", "--body", "no such file"]]
)
def test_what_cannot_be_signed_exits_2(command: Command, arguments: list[str]) -> None:
    """The path must be a path alone, and the body must exist."""
    result = command("sign", *arguments)

    assert (result.status, result.stdout) == (2, "")
    assert SECRET not in result.stderr


def test_what_was_signed_is_verified(command: Command) -> None:
    """The signature may be given with or without the header's name."""
    header = sdk.sign_request(signing_secret=SECRET, method="POST", path="/nodus", body=BODY)["Nodus-Signature"]

    assert command("verify", "POST", "/nodus", "--signature", f"Nodus-Signature: {header}") == (0, "valid\n", "")


def test_a_body_that_was_changed_is_not(command: Command, tmp_path: Path) -> None:
    """The exit status is that of a wrong signature."""
    body = tmp_path / "body"
    body.write_bytes(BODY + b" ")
    header = sdk.sign_request(signing_secret=SECRET, method="POST", path="/nodus", body=BODY)["Nodus-Signature"]

    result = command("verify", "POST", "/nodus", "--signature", header, "--body", str(body), "--json")

    assert (result.status, json.loads(result.stdout)) == (9, {"valid": False})
    assert "is wrong" in result.stderr


def test_an_old_delivery_is_verified_with_a_wider_tolerance(command: Command) -> None:
    """This is for looking into a delivery that was kept."""
    signed = sdk.sign_request(signing_secret=SECRET, method="POST", path="/n", body=BODY, now=1_767_225_600)
    words = ("verify", "POST", "/n", "--signature", signed["Nodus-Signature"], "--body")

    statuses = []
    for tolerance in ([], ["--tolerance-seconds", "1e10"]):
        sys.stdin = io.TextIOWrapper(io.BytesIO(BODY))
        statuses.append(command(*words, "-", *tolerance).status)

    assert statuses == [9, 0]


def test_a_secret_that_is_being_rotated_has_two_values(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signature under either of them is accepted."""
    monkeypatch.setenv("NODUS_WEBHOOK_SECRET", f"whsec_old {SECRET}")
    header = sdk.sign_request(signing_secret=SECRET, method="POST", path="/nodus", body=BODY)["Nodus-Signature"]

    assert command("verify", "POST", "/nodus", "--signature", header).status == 0


@pytest.mark.parametrize(
    ("words", "variable"),
    [
        (("sign", "GET", "/v1/jobs"), "NODUS_SIGNING_SECRET"),
        (("verify", "POST", "/n", "--signature", "x"), "NODUS_WEBHOOK_SECRET"),
    ],
)
def test_a_missing_secret_exits_3_and_is_named(
    command: Command, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], variable: str
) -> None:
    """The secret for requests does not stand in for that of webhooks, or the other way round."""
    monkeypatch.delenv(variable)

    result = command(*words)

    assert (result.status, result.stdout) == (3, "")
    assert variable in result.stderr


def test_signing_needs_neither_key_nor_network(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """It starts no event loop either."""
    monkeypatch.setenv("NODUS_BACKEND", "none")

    assert command("sign", "GET", "/v1/jobs").status == 0
