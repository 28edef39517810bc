"""What all chance in a campaign comes from."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable

SEED_VARIABLE = "NODUS_KILLING_SEED"

Report = Callable[[str, object], None]


def new_seed(record_property: Report) -> int:
    """Return a random seed, or that in NODUS_KILLING_SEED, and have it told at the end."""
    seed = int(os.environ.get(SEED_VARIABLE) or secrets.randbits(32))
    tell(f"{SEED_VARIABLE}={seed}", record_property)
    return seed


def tell(what: str, record_property: Report) -> None:
    """Have something told, in the output of the test and in its report."""
    sys.stderr.write(f"{what}\n")
    record_property("killings", what)
