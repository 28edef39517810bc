"""Tests whose packages are missing are skipped on a developer's machine, and fail in CI."""

from __future__ import annotations

import json

import pytest

from tests.support.optional import import_or_skip


def test_elsewhere_a_missing_package_is_a_reason_to_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    """And named in it."""
    monkeypatch.delenv("CI", raising=False)

    with pytest.raises(pytest.skip.Exception, match="it completes names"):
        import_or_skip("nodus_missing", "it completes names")


def test_in_ci_a_missing_package_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """CI installs all that it can, so that nothing is skipped without anybody noticing."""
    monkeypatch.setenv("CI", "true")

    with pytest.raises(ModuleNotFoundError, match="nodus_missing"):
        import_or_skip("nodus_missing", "it completes names")


@pytest.mark.parametrize("ci", ["true", ""])
def test_a_package_that_is_there_is_imported(monkeypatch: pytest.MonkeyPatch, ci: str) -> None:
    """Wherever that is."""
    monkeypatch.setenv("CI", ci)

    assert import_or_skip("json", "it is there") is json
