"""What can be a label."""

from __future__ import annotations

import pytest

from nodus_core.job_labels import is_label_key, is_label_value, read_labels


@pytest.mark.parametrize("key", ["a", "0", "team", "gpu-test", "acme.example_1", "x" * 63])
def test_keys(key: str) -> None:
    """Lower-case letters, digits and a few marks, which stand at neither end."""
    assert is_label_key(key)


@pytest.mark.parametrize("key", ["", "-a", "a.", "_", "Team", "a b", "é", "a\n", "x" * 64, None, 1])
def test_what_is_no_key(key: object) -> None:
    """Nor is one with a line break behind it."""
    assert not is_label_key(key)


@pytest.mark.parametrize(("value", "holds"), [("", True), ("søk 検索", True), ("x" * 128, True), ("x" * 129, False)])
def test_values(value: str, *, holds: bool) -> None:
    """Any script, and nothing at all."""
    assert is_label_value(value) is holds


@pytest.mark.parametrize("value", ["a\nb", "\x1b[31m", "\u202e", None, 1])
def test_what_is_no_value(value: object) -> None:
    """What a terminal would obey, or reorder."""
    assert not is_label_value(value)


def test_a_column_without_labels_holds_none() -> None:
    """Of a job from before there were any, too."""
    assert read_labels(None) == {}
    assert read_labels('{"team":"search"}') == {"team": "search"}
