"""Completes labels to those that recent jobs have: a shell waits for it, so it is short, and silent where it fails."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import asyncclick

from .._errors import NodusError

MOST_SECONDS = 2.0
"""How long a person at the prompt waits at most."""

RECENT = 200
"""How many jobs are looked at: a page."""


def complete_label(context: asyncclick.Context, parameter: asyncclick.Parameter, begun: str) -> list[str]:
    """Ask the control plane which labels there are, and return those that begin so; none if it cannot be asked."""
    from .._sync.client import Client

    try:
        with Client(timeout=MOST_SECONDS, total_timeout=MOST_SECONDS, max_retries=0) as client:
            return matching((job.labels for job in client.list(limit=RECENT)), begun)
    except NodusError:
        return []


def matching(labels: Iterable[Mapping[str, str]], begun: str) -> list[str]:
    """Return labels as they are typed, in order, each once; an empty value is left out.

    Args:
        labels: of each job.
        begun: what has been typed.

    >>> matching([{"team": "search", "gpu-test": ""}, {"team": "ads"}], "te")
    ['team=ads', 'team=search']
    """
    known = {f"{key}={value}" if value else key for each in labels for key, value in each.items()}
    # A line is a completion, whoever wrote the label.
    return sorted(label for label in known if label.startswith(begun) and label.isprintable())
