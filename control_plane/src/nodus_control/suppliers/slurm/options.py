"""Whose jobs go to a Slurm cluster."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SlurmContext:
    """Whose jobs a driver gives to the cluster.

    Attributes:
        database_id: of the control plane's database: part of every name on the cluster.
        incarnation: of the database, which a restore changes.
    """

    database_id: str
    incarnation: str = ""
