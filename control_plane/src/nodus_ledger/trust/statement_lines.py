"""The lines of a month's statement: pure functions, from what is in a log to NDJSON.

A header, a line for each row, a trailer: each a JSON object in UTF-8, without spaces, ended by a line feed, so that
whoever verifies can hold every byte to it. Statements are described in docs/reference/ledger-encoding.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from json.encoder import encode_basestring
from typing import Any, NamedTuple

from nodus_core.notes import Checkpoint

from .job_entries import SETTLED

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class Span(NamedTuple):
    """The rows of a statement, from the first to the last."""

    first: int
    last: int


@dataclass(slots=True)
class Sum:
    """Jobs, and what they cost in micro-USD."""

    jobs: int = 0
    cost_micros: int = 0

    def add(self, cost_micros: int) -> None:
        """Count one more job."""
        self.jobs += 1
        self.cost_micros += cost_micros

    def view(self) -> dict[str, Any]:
        """Return it as it stands in a statement."""
        return {"jobs": self.jobs, "cost_micros": self.cost_micros}


@dataclass(slots=True)
class Totals:
    """What the settled jobs of a month cost; `simulated` is the part of it that was no real work, and no real money."""

    whole: Sum = field(default_factory=Sum)
    simulated: Sum = field(default_factory=Sum)
    by_principal_kind: dict[str, Sum] = field(default_factory=dict)

    def add(self, kind: str, leaf: str) -> None:
        """Take in a row whose `at` lies in the month; what settles no job changes nothing."""
        if kind != SETTLED:
            return
        written = json.loads(leaf)
        payload = written["payload"]
        cost: int = payload["cost_micros"]
        self.whole.add(cost)
        self.by_principal_kind.setdefault(str(written["principal_kind"]), Sum()).add(cost)
        # Rows from before this was recorded are about simulated jobs.
        if payload.get("simulated", True):
            self.simulated.add(cost)

    def view(self) -> dict[str, Any]:
        """Return them as they stand in a statement."""
        kinds = {kind: of_kind.view() for kind, of_kind in sorted(self.by_principal_kind.items())}
        return {**self.whole.view(), "by_principal_kind": kinds, "simulated": self.simulated.view()}


def header_line(origin: str, customer_id: str, month: str, span: Span | None) -> bytes:
    """Write the first line; `span` is None for a month without rows."""
    first, last = (None, None) if span is None else span
    return _line(
        {"origin": origin, "customer_id": customer_id, "month": month, "first_seq": first, "last_seq": last},
    )


def leaf_lines(leaves: Sequence[str]) -> bytes:
    """Write a line for each leaf."""
    return "".join([f'{{"leaf":{encode_basestring(leaf)}}}\n' for leaf in leaves]).encode()


def trailer_line(
    checkpoint: Checkpoint,
    note: str,
    proofs: tuple[Sequence[bytes], Sequence[bytes]] | None,
    totals: Totals,
    *,
    is_final: bool,
) -> bytes:
    """Write the last line; `proofs` are those of the first and the last row, None for a month without rows."""
    origin, size, root = checkpoint
    return _line(
        {
            "checkpoint": {"origin": origin, "size": size, "root_hash": root.hex(), "note": note},
            "proof": None if proofs is None else dict(zip(("first", "last"), map(_hex, proofs), strict=True)),
            "totals": totals.view(),
            "final": is_final,
        }
    )


def _hex(hashes: Sequence[bytes]) -> list[str]:
    return [each.hex() for each in hashes]


def _line(content: Mapping[str, Any]) -> bytes:
    return _encode(content).encode() + b"\n"
