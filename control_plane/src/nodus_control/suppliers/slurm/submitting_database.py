"""Whose jobs go to a Slurm cluster."""

from __future__ import annotations

from typing import Protocol


class SubmittingDatabase(Protocol):
    """Whose jobs a driver gives to the cluster."""

    @property
    def database_id(self) -> str:
        """Of the control plane's database: part of every name on the cluster."""
        ...

    @property
    def incarnation(self) -> str:
        """Of the database, which a restore changes."""
        ...
