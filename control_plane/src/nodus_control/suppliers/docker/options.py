"""The words of an operator's decisions about an engine for containers, and the secrets that these refer to."""

from __future__ import annotations

import os
from pathlib import Path

from nodus_core.suppliers_file import EnvReference, Reference

NO_NETWORK = "none"
BRIDGE = "bridge"
HOST = "host"


def resolve(reference: Reference) -> str:
    """Return a secret, without the line break at the end of its file.

    Raises:
        RuntimeError: the variable is not set, or the file cannot be read.
    """
    if isinstance(reference, EnvReference):
        value = os.environ.get(reference.name)
        if value is None:
            raise RuntimeError(f"the environment variable {reference.name} is not set: set it, or name another")
        return value
    try:
        return Path(reference.path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise RuntimeError(f"the secret in {reference.path} cannot be read: {exc}") from exc
