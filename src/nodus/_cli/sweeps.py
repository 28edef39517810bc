"""One job for each combination of values: what a sweep consists of. Pure.

A combination's idempotency key comes from its values, not from its position: a sweep that is submitted again under the
same key, with a value more, makes the new jobs only.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._arguments import MAX_IDEMPOTENCY_KEY_LENGTH

MOST_JOBS = 10_000
"""How many jobs a sweep may have."""

_DIGITS = 32
"""Of SHA-256, in hexadecimal: 128 bits."""

MAX_KEY_LENGTH = MAX_IDEMPOTENCY_KEY_LENGTH - _DIGITS - 1
"""How long an idempotency key may be that the keys of several jobs are made from."""

Matrix = Mapping[str, Sequence[str]]

_PLACE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_ADDED_TO = ("env", "labels")


@dataclass(frozen=True)
class SweepJob:
    """One job of a sweep.

    Attributes:
        values: the combination, by variable; empty where there is no matrix.
        fields: of the job, as `AsyncClient.run` takes them.
    """

    values: Mapping[str, str]
    fields: Mapping[str, Any] = field(repr=False)

    @property
    def idempotency_key(self) -> str:
        """The job's own key."""
        key: str = self.fields["idempotency_key"]
        return key

    @property
    def title(self) -> str:
        """The combination, as people read it."""
        return " ".join(f"{name}={value}" for name, value in self.values.items())


def expand(fields: Mapping[str, Any], matrix: Matrix) -> list[SweepJob]:
    """Return a job for each combination, in order; the last variable changes fastest.

    Args:
        fields: what the jobs have in common; `idempotency_key` is what their own are made from.
        matrix: the values of each variable.

    >>> [job.title for job in expand({"idempotency_key": "k"}, {"LR": ["0.1", "0.01"], "SEED": ["1", "2"]})]
    ['LR=0.1 SEED=1', 'LR=0.1 SEED=2', 'LR=0.01 SEED=1', 'LR=0.01 SEED=2']
    """
    combinations = itertools.product(*matrix.values())
    return [_job(fields, dict(zip(matrix, values, strict=True))) for values in combinations]


def count_of(matrix: Matrix) -> int:
    """Return the number of combinations."""
    return math.prod(len(values) for values in matrix.values())


def label_of(variable: str) -> str:
    """Return the key of the label that has a variable's value."""
    return variable.lower()


def filled(argument: str, values: Mapping[str, str]) -> str:
    """Return an argument with a value in the place of each `{NAME}` of a variable; other braces stay as they are.

    >>> filled('--lr={LR} --set={"LR": {x}}', {"LR": "0.1"})
    '--lr=0.1 --set={"LR": {x}}'
    """
    return _PLACE.sub(lambda found: values.get(found[1], found[0]), argument)


def derived_key(key: str, values: Mapping[str, str]) -> str:
    """Return the idempotency key of a combination: the same for the same values, in whatever order.

    Args:
        key: the sweep's, at most `MAX_KEY_LENGTH` long; the one job of a sweep without a matrix has it as it is.
        values: the combination.
    """
    if not values:
        return key
    written = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return f"{key}-{hashlib.sha256(written.encode()).hexdigest()[:_DIGITS]}"


def merged(fields: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a file with options in their place; variables and labels are added to those of the file.

    Args:
        fields: what the file sets.
        options: what was given besides; None for what was not.
    """
    given = {name: value for name, value in options.items() if value is not None}
    added = {name: {**(fields.get(name) or {}), **given[name]} for name in _ADDED_TO if name in given}
    return {**fields, **given, **added}


def _job(fields: Mapping[str, Any], values: Mapping[str, str]) -> SweepJob:
    own: dict[str, Any] = {"idempotency_key": derived_key(fields["idempotency_key"], values)}
    if values:
        own["env"] = {**(fields.get("env") or {}), **values}
        own["labels"] = {**(fields.get("labels") or {}), **{label_of(name): text for name, text in values.items()}}
        if command := fields.get("command"):
            own["command"] = [filled(argument, values) for argument in command]
    return SweepJob(values, {**fields, **own})
