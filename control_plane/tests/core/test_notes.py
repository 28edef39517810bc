"""Signed notes: against the example that the form's first implementation gives, and by spoiling good ones."""

from __future__ import annotations

import base64

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from nodus_core import notes

# The example in the documentation of golang.org/x/mod/sumdb/note.
KNOWN_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
KNOWN_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
KNOWN_NOTE = KNOWN_TEXT + (
    "\n\u2014 PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = notes.VerifierKey("ledger.example/acme", PRIVATE.public_key().public_bytes_raw())
TEXT = notes.encode_checkpoint(notes.Checkpoint("ledger.example/acme", 3, bytes(32)))
NOTE = notes.sign_note(TEXT, KEY, PRIVATE.sign)


def verifier(key: notes.VerifierKey) -> notes.Verify:
    """Ed25519 verification under a key."""
    public = Ed25519PublicKey.from_public_bytes(key.public_key)

    def verify(message: bytes, signature: bytes) -> bool:
        try:
            public.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    return verify


def opened(note: str, key: notes.VerifierKey = KEY) -> str:
    return notes.open_note(note, key, verifier(key))


def test_a_note_of_another_implementation_opens() -> None:
    """The key is written as there, and its signature is found and verifies."""
    key = notes.VerifierKey("PeterNeumann", base64.b64decode(KNOWN_KEY.rpartition("+")[2])[1:])

    assert notes.encode_verifier_key(*key) == KNOWN_KEY
    assert opened(KNOWN_NOTE, key) == KNOWN_TEXT


def test_a_checkpoint_is_three_lines_and_a_signature() -> None:
    """Origin, size and root; an empty line; who signed, and what."""
    lines = NOTE.split("\n")
    signature = base64.b64decode(lines[4].split(" ")[2])

    assert lines[:4] == ["ledger.example/acme", "3", base64.b64encode(bytes(32)).decode(), ""]
    assert lines[4].startswith("\u2014 ledger.example/acme ")
    assert signature[:4] == notes.key_id(*KEY)
    assert signature[4:] == PRIVATE.sign(TEXT.encode())
    assert notes.decode_checkpoint(opened(NOTE)) == notes.Checkpoint("ledger.example/acme", 3, bytes(32))


def test_signatures_of_others_are_passed_over() -> None:
    """A witness may sign too, before or after."""
    witness = f"\u2014 witness.example {base64.b64encode(bytes(80)).decode()}\n"
    text, own = NOTE.split("\n\n")

    assert opened(f"{text}\n\n{witness}{own}") == TEXT
    assert opened(f"{text}\n\n{own}{witness}") == TEXT


def test_lines_after_the_root_are_extensions() -> None:
    """They are signed and passed over."""
    note = notes.sign_note(TEXT + "an extension\n", KEY, PRIVATE.sign)

    assert notes.decode_checkpoint(opened(note)).size == 3


@given(st.integers(min_value=0, max_value=len(NOTE) - 2), st.text(min_size=1, max_size=1))
def test_a_note_with_any_character_changed_does_not_open_to_something_else(place: int, character: str) -> None:
    """Whatever is changed, no other text than the one that was signed comes out."""
    spoiled = NOTE[:place] + character + NOTE[place + 1 :]
    try:
        text = opened(spoiled)
    except ValueError:
        text = TEXT

    assert text == TEXT


@pytest.mark.parametrize(
    "note",
    [
        "",
        TEXT,
        NOTE[:-1],
        NOTE.replace("\u2014", "-"),
        NOTE.replace("\u2014 ledger", "\u2014 other"),
        NOTE.replace("\n3\n", "\n4\n"),
        NOTE.replace("\n\n", "\n"),
        NOTE[:-6] + "AAA=\n",
        NOTE[:-3] + "!\n",
        NOTE.replace("\u2014 ledger.example/acme ", "\u2014 ledger.example/acme  "),
        TEXT + "\n\u2014 ledger.example/acme " + base64.b64encode(notes.key_id(*KEY) + bytes(3)).decode() + "\n",
    ],
)
def test_a_note_that_is_not_whole_is_refused(note: str) -> None:
    """No signature, another's, or one that is wrong."""
    with pytest.raises(ValueError, match=r"note|signature"):
        opened(note)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "origin\n3\n",
        "origin\n03\n" + "A" * 43 + "=\n",
        "origin\n-1\n" + "A" * 43 + "=\n",
        "origin\n٣\n" + "A" * 43 + "=\n",
        "\n3\n" + "A" * 43 + "=\n",
        "origin\n3\nAAAA\n",
        "origin\n3\n" + "A" * 42 + "B=\n",
        "origin\n3\n" + "A" * 43 + "=",
        "origin\n3\n" + "A" * 43 + "=\n\nmore\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    """A size in its one form, and a root of 32 bytes in its one form."""
    with pytest.raises(ValueError, match="checkpoint"):
        notes.decode_checkpoint(text)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u2028b"])
def test_a_name_that_would_break_the_form_is_refused(name: str) -> None:
    """It is a word on a line, and before a plus sign."""
    with pytest.raises(ValueError, match="name"):
        notes.encode_verifier_key(name, KEY.public_key)


@pytest.mark.parametrize("text", ["", "a", "a\n\nb\n", "\na\n", "a\r\n"])
def test_a_text_that_would_break_the_form_is_not_signed(text: str) -> None:
    """An empty line inside it could pass for its end."""
    with pytest.raises(ValueError, match="text"):
        notes.sign_note(text, KEY, PRIVATE.sign)


@pytest.mark.parametrize(
    "checkpoint",
    [
        notes.Checkpoint("", 0, bytes(32)),
        notes.Checkpoint("a\nb", 0, bytes(32)),
        notes.Checkpoint("a", -1, bytes(32)),
        notes.Checkpoint("a", 0, bytes(31)),
    ],
)
def test_a_checkpoint_that_could_not_be_read_is_not_written(checkpoint: notes.Checkpoint) -> None:
    """What goes out comes back."""
    with pytest.raises(ValueError, match=r"origin|checkpoint"):
        notes.encode_checkpoint(checkpoint)


def test_a_key_of_another_length_is_not_written() -> None:
    """Ed25519 keys have 32 bytes."""
    with pytest.raises(ValueError, match="32 bytes"):
        notes.encode_verifier_key("a", b"short")
