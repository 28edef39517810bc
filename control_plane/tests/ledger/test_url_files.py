"""Settings in files: what is read from them, and what is said of those that cannot be."""

from __future__ import annotations

import pathlib

import pytest

from nodus_ledger.database.sealing import UnusableKey, key_of_setting
from nodus_ledger.database.url_files import UnreadableFile, UnreadableUrl, file_of, text_of, url_of


def test_a_setting_is_itself_or_the_text_of_its_file(tmp_path: pathlib.Path) -> None:
    """Without the line break that editors put at the end."""
    file = tmp_path / "secret"
    file.write_text(" value \n")

    assert (text_of("value", "a value"), text_of(f"file:{file}", "a value")) == ("value", "value")
    assert (file_of("value"), file_of(f"file:{file}")) == (None, file)


@pytest.mark.parametrize("content", [None, b"", b" \n", b"file:other", b"\xff"])
def test_a_file_without_a_setting_is_named(tmp_path: pathlib.Path, content: bytes | None) -> None:
    """Its content is not: it may be the secret of something else."""
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(UnreadableFile, match=str(file)):
        text_of(f"file:{file}", "a value")
    with pytest.raises(UnreadableUrl, match=str(file)):
        url_of(f"file:{file}")


def test_a_key_may_be_in_a_file(tmp_path: pathlib.Path) -> None:
    """In the same two forms; what is wrong is said with the variable's name, and without the key."""
    file = tmp_path / "key"
    file.write_text("5e" * 32 + "\n")
    wrong = tmp_path / "wrong"
    wrong.write_text("5e" * 31)

    assert key_of_setting(f"file:{file}", "NAME") == key_of_setting("5e" * 32, "NAME") == b"\x5e" * 32
    with pytest.raises(UnusableKey, match="NAME must hold 32 bytes") as raised:
        key_of_setting(f"file:{wrong}", "NAME")
    assert "5e5e" not in str(raised.value)
    with pytest.raises(UnusableKey, match=r"cannot read NAME: .*gone"):
        key_of_setting(f"file:{tmp_path / 'gone'}", "NAME")
