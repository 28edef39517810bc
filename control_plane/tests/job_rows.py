"""Rows of jobs as they are written to a database without a control plane."""

from __future__ import annotations

from typing import Any

from nodus_core.lifecycle import JobStatus

LIVE = (JobStatus.QUEUED, JobStatus.PLACED, JobStatus.RUNNING)


def row(number: int) -> dict[str, Any]:
    """Make a job: every thousandth lives."""
    status = LIVE[number // 1000] if number % 1000 == 500 else (JobStatus.COMPLETED, JobStatus.FAILED)[number % 2]
    return {
        "id": f"{number:032}",
        "customer_id": "acme" if number % 3 else "globex",
        "key_id": "",
        "principal_kind": "human",
        "endpoint": "",
        "fingerprint": b"",
        "image": "x",
        "gpu": "a10g",
        "gpu_count": 1,
        "max_runtime_seconds": 60,
        "require_tiers": "",
        "sealed": b"",
        "created_at": number,
        "reserved": 0,
        "reserved_rate": 0,
        "status": status.value,
        "placements": 0,
        "finished_at": None if status in LIVE else number,
        "events": 1,
        "attempt": 0,
        "open_attempt": False,
        "due_at": number if status in LIVE else None,
        "generation": 0,
        "simulated": True,
    }
