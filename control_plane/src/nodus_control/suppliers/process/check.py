"""What `nodus-control suppliers check` says about commands that run on the worker's machine."""

from __future__ import annotations

from collections.abc import Iterable

from ..findings import Finding, Level


def check(gpus: Iterable[str]) -> list[Finding]:
    """Name what an operator should know of it.

    Args:
        gpus: the GPU models that the supplier offers.
    """
    names = ", ".join(sorted(gpus))
    text = f"{names}: counted in name only. No GPU is attached to a job, nor is one kept from it; no image is run"
    return [Finding(Level.WARNING, text)]
