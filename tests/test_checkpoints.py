"""Signed checkpoints: read in each of their forms, verified under a pinned key, and refused if anything is wrong."""

from __future__ import annotations

import base64
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nodus
from nodus._checkpoints import Checkpoint, PublicKey, open_checkpoint, read_key
from tests.support import signed_ledger as ledger

ROWS = ledger.rows(7)
CHECKPOINT = ledger.checkpoint_of(ROWS)
NOTE = CHECKPOINT["note"]
KEY = ledger.key_of()
PINNED = PublicKey(ledger.ORIGIN, ledger.PUBLIC)

# The example in the documentation of golang.org/x/mod/sumdb/note.
KNOWN_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"


def refused(code: str, checkpoint: Any, key: PublicKey | None = None, origin: str | None = None) -> None:
    """A checkpoint is refused, for this reason."""
    with pytest.raises(nodus.LedgerError) as caught:
        open_checkpoint(checkpoint, key, origin)

    assert caught.value.code == code


@pytest.mark.parametrize("checkpoint", [NOTE, CHECKPOINT, nodus.LedgerCheckpoint(**CHECKPOINT), {"note": NOTE}])
@pytest.mark.parametrize("key", [None, PINNED, PublicKey(None, ledger.PUBLIC)])
def test_a_checkpoint_is_read_in_each_of_its_forms(checkpoint: Any, key: PublicKey | None) -> None:
    """It may be a record, a mapping or a note; without a key, no signature is claimed."""
    expected = Checkpoint(ledger.ORIGIN, 7, bytes.fromhex(CHECKPOINT["root_hash"]), is_verified=key is not None)

    assert open_checkpoint(checkpoint, key) == expected


@pytest.mark.parametrize(
    ("key", "origin"),
    [
        (KEY, ledger.ORIGIN),
        (nodus.LedgerKey(**KEY), ledger.ORIGIN),
        (KEY["vkey"], ledger.ORIGIN),
        (KEY["public_key"], None),
        (ledger.PUBLIC, None),
    ],
)
def test_a_key_is_read_in_each_of_its_forms(key: Any, origin: str | None) -> None:
    """A form that names a log binds the key to that log."""
    assert read_key(key) == PublicKey(origin, ledger.PUBLIC)


def test_a_key_of_another_implementation_is_read() -> None:
    """Its identifier is computed as the form says."""
    assert read_key(KNOWN_VKEY).origin == "PeterNeumann"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "AAAA",
        "no key",
        "\ud800",
        b"short",
        KEY["vkey"].replace("acme", "evil"),
        KEY["vkey"][:-4],
        KNOWN_VKEY.replace("c74f20a3", "C74F20A3"),
        KNOWN_VKEY.replace("+ARpc", "+AhpC"),
        {**KEY, "algorithm": "rsa"},
        {**KEY, "public_key": None},
        {},
        7,
    ],
)
def test_what_is_no_key_is_refused(key: Any) -> None:
    """It is refused before anything is verified."""
    with pytest.raises(nodus.ValidationError) as caught:
        read_key(key)

    assert caught.value.code == "invalid_public_key"


def test_a_key_of_another_algorithm_is_refused() -> None:
    """This holds even if its identifier is that of an Ed25519 key of the same bytes."""
    name, key_id, encoded = KEY["vkey"].split("+", 2)
    other = base64.b64encode(b"\x02" + base64.b64decode(encoded)[1:]).decode()

    with pytest.raises(nodus.ValidationError):
        read_key(f"{name}+{key_id}+{other}")


@settings(deadline=None)
@given(st.integers(0, len(NOTE) - 1), st.text(min_size=1, max_size=1))
def test_a_note_with_any_character_changed_does_not_verify(position: int, character: str) -> None:
    """No character of it is free to choose."""
    spoiled = NOTE[:position] + character + NOTE[position + 1 :]
    if spoiled == NOTE:
        return

    with pytest.raises(nodus.LedgerError):
        open_checkpoint(spoiled, PINNED)


@pytest.mark.parametrize(
    ("field", "value"), [("origin", "nodus.run/ledger/evil"), ("size", 6), ("root_hash", "0" * 64), ("note", None)]
)
def test_a_checkpoint_says_what_its_note_says(field: str, value: Any) -> None:
    """What stands beside the note must agree with it, because only the note is signed."""
    refused("ledger_malformed", {**CHECKPOINT, field: value}, PINNED)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n\n",
        "a\nb",
        "a\n1\n\n",
        "o\n01\n" + "A" * 43 + "=\n\n\u2014 o AAAA\n",
        "o\n1\nAAAA\n\n\u2014 o AAAA\n",
        "\ud800",
    ],
)
def test_a_note_that_is_none_is_malformed(note: str) -> None:
    """It is malformed with a key and without one."""
    refused("ledger_malformed", note)
    refused("ledger_malformed", note, PINNED)


@pytest.mark.parametrize("checkpoint", [b"o\n1\n", 7, {}])
def test_what_is_no_checkpoint_is_malformed(checkpoint: Any) -> None:
    """An example is a note that was read as bytes."""
    refused("ledger_malformed", checkpoint)


@pytest.mark.parametrize("private", [ledger.OTHER_PRIVATE])
@pytest.mark.parametrize("key", [PINNED, PublicKey(None, ledger.PUBLIC)])
def test_another_keys_signature_is_refused(private: Any, key: PublicKey) -> None:
    """Access to the database does not give access to the key."""
    refused("ledger_signature_invalid", ledger.checkpoint_of(ROWS, private=private), key)


@pytest.mark.parametrize(
    ("key", "origin"),
    [(PublicKey("nodus.run/ledger/evil", ledger.PUBLIC), None), (None, "nodus.run/ledger/evil")],
)
def test_the_checkpoint_of_another_log_is_refused(key: PublicKey | None, origin: str | None) -> None:
    """The key's name, or the origin that the caller expects, tells."""
    refused("ledger_origin_mismatch", NOTE, key, origin)


def test_signatures_of_witnesses_are_passed_over() -> None:
    """A note may carry signatures of others too."""
    text, own = NOTE.split("\n\n")
    witness = f"\u2014 witness.example {base64.b64encode(bytes(68)).decode()}\n"

    for signatures in (witness + own, own + witness):
        assert open_checkpoint(f"{text}\n\n{signatures}", PINNED).is_verified


def test_a_signature_that_is_missing_is_no_signature() -> None:
    """The log's own signature is required."""
    text, _ = NOTE.split("\n\n")
    witness = f"\u2014 witness.example {base64.b64encode(bytes(68)).decode()}\n"

    refused("ledger_signature_invalid", f"{text}\n\n{witness}", PINNED)


def test_without_cryptography_only_a_signature_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is asked for where there is something to verify, and nowhere else."""
    for name in [*sys.modules]:
        if name.split(".")[0] == "cryptography":
            monkeypatch.setitem(sys.modules, name, None)

    assert open_checkpoint(NOTE, None).size == 7
    with pytest.raises(nodus.ConfigurationError, match="pip install cryptography"):
        open_checkpoint(NOTE, PINNED)
