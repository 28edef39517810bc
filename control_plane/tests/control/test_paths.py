"""One spelling for every path."""

from __future__ import annotations

import pytest

from nodus_control.api.paths import is_canonical


@pytest.mark.parametrize("path", [b"/v1/key", b"/v1/jobs/a%20b", b"/v1/jobs/%C3%A9", b"/v1/jobs/%c3%a9", b"", b"/%00"])
def test_what_must_be_encoded_may_be(path: bytes) -> None:
    """A path in which nothing else is percent-encoded is accepted."""
    assert is_canonical(path)


@pytest.mark.parametrize(
    "path", [b"/v1%2fkey", b"/v1%2Fkey", b"/v1/%6bey", b"/v1/%6Bey", b"/%76%31/key", b"/v1/jobs/%2e%2e", b"/a%5Cb"]
)
def test_what_need_not_be_encoded_must_not_be(path: bytes) -> None:
    """Nor a slash: a proxy's rule for the path would not see it."""
    assert not is_canonical(path)
