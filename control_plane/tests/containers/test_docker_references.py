"""The name of an image says from which registry it comes, by the OCI grammar."""

from __future__ import annotations

import pytest

from nodus_control.suppliers.docker.references import (
    IMAGE_ACCESS_DENIED,
    IMAGE_NOT_FOUND,
    IMAGE_PULL_FAILED,
    InvalidReference,
    is_allowed,
    parse_reference,
    pull_code,
)

DIGEST = "sha256:" + "a" * 64

INVALID = (
    "",
    "UPPER",
    "a/UPPER",
    "-x",
    "a b",
    "a:",
    "a:b:c/d",
    "a@sha256:1",
    "a@x",
    "/a",
    "a//b",
    "../a",
    "a/..",
    "a\n",
)


@pytest.mark.parametrize(
    ("image", "whole"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("acme/train:v3", "docker.io/acme/train:v3"),
        ("index.docker.io/acme/train", "docker.io/acme/train:latest"),
        ("ghcr.io/acme/train:v3", "ghcr.io/acme/train:v3"),
        ("localhost/x", "localhost/x:latest"),
        ("127.0.0.1:5000/a/b:1", "127.0.0.1:5000/a/b:1"),
        ("[::1]:5000/a:1", "[::1]:5000/a:1"),
        (f"ghcr.io/acme/train:v3@{DIGEST}", f"ghcr.io/acme/train@{DIGEST}"),
        (f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}"),
    ],
)
def test_a_name_is_made_whole(image: str, whole: str) -> None:
    """No engine adds anything to it: some would look in registries of their own."""
    assert str(parse_reference(image)) == whole


@pytest.mark.parametrize(
    "image",
    [
        "",
        "UPPER",
        "a/UPPER",
        "-x",
        "a b",
        "a:",
        "a:b:c/d",
        "a@sha256:1",
        "a@x",
        "/a",
        "a//b",
        "../a",
        "a/..",
        "a:-t",
        "a\n",
    ],
)
def test_what_is_no_name_is_refused(image: str) -> None:
    """Nothing of it reaches an engine, where it would stand in a path."""
    with pytest.raises(InvalidReference):
        parse_reference(image)


@pytest.mark.parametrize(
    ("image", "registries", "expected"),
    [
        ("busybox", None, True),
        ("busybox", (), False),
        ("busybox", ("docker.io",), True),
        ("GHCR.io/a", ("ghcr.io",), True),
        ("ghcr.io/a", ("docker.io",), False),
        ("ghcr.io.evil.example/a", ("ghcr.io",), False),
        ("docker.io.evil/a", ("docker.io",), False),
        ("127.0.0.1:5001/a", ("127.0.0.1:5000",), False),
    ],
)
def test_images_come_from_allowed_registries_only(
    image: str, registries: tuple[str, ...] | None, *, expected: bool
) -> None:
    """The whole name of the registry counts."""
    assert is_allowed(parse_reference(image), registries) is expected


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (404, "manifest for 127.0.0.1:1/a:1 not found: manifest unknown: manifest unknown", IMAGE_NOT_FOUND),
        (200, "reading manifest 1 in 127.0.0.1:1/a: manifest unknown: manifest unknown", IMAGE_NOT_FOUND),
        (404, "pull access denied for x, repository does not exist or may require 'docker login'", IMAGE_ACCESS_DENIED),
        (500, 'Head "http://127.0.0.1:1/v2/a/manifests/1": no basic auth credentials', IMAGE_ACCESS_DENIED),
        (500, "unauthorized: authentication required", IMAGE_ACCESS_DENIED),
        (500, 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused', IMAGE_PULL_FAILED),
        (500, "toomanyrequests: You have reached your pull rate limit", IMAGE_PULL_FAILED),
        (500, "no space left on device", IMAGE_PULL_FAILED),
    ],
)
def test_what_an_engine_says_of_a_failed_fetch_becomes_a_code(status: int, message: str, expected: str) -> None:
    """Docker says it with a status, Podman in the middle of what began as a success."""
    assert pull_code(status, message) == expected
