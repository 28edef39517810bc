"""References to images, by the OCI grammar; which registries are allowed; and what an engine means that cannot pull.

Pure. See https://github.com/distribution/reference for the grammar: `[registry/]path[:tag][@digest]`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

DOCKER_HUB = "docker.io"

IMAGE_NOT_FOUND = "image_not_found"
IMAGE_ACCESS_DENIED = "image_access_denied"
IMAGE_PULL_FAILED = "image_pull_failed"
WHAT_IS_WRONG = {
    IMAGE_NOT_FOUND: "the registry has no such image, or does not show it",
    IMAGE_ACCESS_DENIED: "the registry does not let the supplier have the image",
    IMAGE_PULL_FAILED: "the image could not be fetched from its registry; it is tried again",
}
"""What customers are told, who do not see what an engine says."""

FINAL = frozenset({IMAGE_NOT_FOUND, IMAGE_ACCESS_DENIED})
"""What trying again does not change."""

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
)
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
_DENIED = re.compile(r"unauthorized|denied|authentication required|no basic auth credentials|forbidden", re.IGNORECASE)
_ABSENT = re.compile(r"manifest unknown|not found|name unknown|does not exist|no such image", re.IGNORECASE)


class InvalidReference(ValueError):
    """It is not the name of an image."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An image, and where it is.

    Attributes:
        registry: host, and port if it has one; `docker.io` where none was named.
        path: within the registry.
        tag: `latest` where neither tag nor digest was given.
        digest: what it must be, to the byte.
    """

    registry: str
    path: str
    tag: str | None
    digest: str | None

    def __str__(self) -> str:
        """Return it whole: no engine adds anything to it of its own."""
        name = f"{self.registry}/{self.path}"
        return f"{name}@{self.digest}" if self.digest is not None else f"{name}:{self.tag}"


def parse_reference(image: str) -> Reference:
    """Read the name of an image.

    Raises:
        InvalidReference: it is none.
    """
    rest, at, digest = image.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise InvalidReference("what follows the '@' of an image must be a digest, such as sha256:…")
    head, slash, tail = rest.rpartition("/")
    last, colon, tag = tail.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise InvalidReference("what follows the last ':' of an image must be a tag: letters, digits, '.', '_' and '-'")
    name = f"{head}{slash}{last}"
    first, slash, path = name.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost" or first != first.lower())
    registry = first if is_host else DOCKER_HUB
    path = path if is_host else name
    if registry == "index.docker.io":
        registry = DOCKER_HUB
    if registry == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    if not _HOST.fullmatch(registry) or not _PATH.fullmatch(path) or len(path) > 255:
        raise InvalidReference("an image is named [registry/]path[:tag][@digest], its path in small letters")
    return Reference(registry, path, tag if colon else (None if at else "latest"), digest if at else None)


def is_allowed(reference: Reference, registries: Sequence[str] | None) -> bool:
    """Say whether images may come from that registry; all may where there is no list."""
    return registries is None or reference.registry.lower() in {each.lower() for each in registries}


def pull_code(status: int, message: str) -> str:
    """Return the code for a pull that failed, from what an engine, or its registry, said."""
    # The order matters: Docker Hub says of what does not exist that access is denied, or that it does not exist.
    if _DENIED.search(message) and not re.search("manifest unknown", message, re.IGNORECASE):
        return IMAGE_ACCESS_DENIED
    if status == 404 or _ABSENT.search(message):
        return IMAGE_NOT_FOUND
    return IMAGE_PULL_FAILED
