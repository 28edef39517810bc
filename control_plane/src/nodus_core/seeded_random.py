"""Seeded random streams, one for each purpose, so that drawing from one never affects another."""

from __future__ import annotations

import hashlib
import random


def stream(seed: int, *labels: str | int) -> random.Random:
    """Return the random stream of `seed` that these labels name; the same ones always give the same numbers."""
    name = "\x1f".join([str(seed), *(str(label) for label in labels)])
    return random.Random(int.from_bytes(hashlib.sha256(name.encode()).digest(), "big"))
