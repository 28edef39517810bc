"""Submissions that come together share a transaction on SQLite: they are answered after it, and fail with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from sqlalchemy import Connection

from nodus_control.testing import LocalControlPlane
from nodus_ledger.database import database
from nodus_ledger.errors import DatabaseUnavailable

pytestmark = pytest.mark.anyio

SUBMITTERS = 12


async def submit_at_once(control_plane: LocalControlPlane, specs: list[dict[str, Any]]) -> list[httpx.Response]:
    """Submit them all, each by a task of its own."""
    answers: list[httpx.Response] = []

    async def submit(client: httpx.AsyncClient, spec: dict[str, Any]) -> None:
        answers.append(await client.post("/v1/jobs", json=spec))

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=control_plane.asgi_app),
        base_url="http://127.0.0.1",
        headers={"Authorization": f"Bearer {control_plane.api_key}"},
    ) as client:
        # Whose key it is is known from then on, so that nobody waits for that apart.
        await client.get("/v1/key")
        async with anyio.create_task_group() as tasks:
            for spec in specs:
                tasks.start_soon(submit, client, spec)
    return answers


def specs(**changes: Any) -> list[dict[str, Any]]:
    """Describe a job for each submitter, each under an idempotency key of its own."""
    described = {"image": "ghcr.io/acme/train:v3", "gpu": "l40s", **changes}
    return [{**described, "idempotency_key": f"k{number}"} for number in range(SUBMITTERS)]


async def test_what_comes_together_is_committed_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one of them asks for may be refused; the others are accepted all the same."""
    commits: list[int] = []
    commit = database._commit

    def counted(connection: Connection) -> None:
        commits.append(1)
        commit(connection)

    with LocalControlPlane(database=f"sqlite:///{tmp_path / 'nodus.db'}", serve=False) as control_plane:
        wanted = specs()
        wanted[3]["gpu_count"] = 99
        with control_plane.plane.worker.paused():
            monkeypatch.setattr(database, "_commit", counted)
            answers = await submit_at_once(control_plane, wanted)
            monkeypatch.undo()

    assert sorted(answer.status_code for answer in answers) == [202] * (SUBMITTERS - 1) + [422]
    assert len(commits) < SUBMITTERS // 2


async def test_a_commit_that_fails_is_told_to_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody was answered before, nobody was woken, nothing is there; and all can submit again."""

    def fail(_connection: Connection) -> None:
        raise DatabaseUnavailable("disk I/O error")

    with LocalControlPlane(database=f"sqlite:///{tmp_path / 'nodus.db'}", serve=False) as control_plane:
        woken: list[int] = []
        with control_plane.plane.worker.paused():
            monkeypatch.setattr(control_plane.plane.webhooks.deliverer, "wake", lambda: woken.append(1))
            monkeypatch.setattr(database, "_commit", fail)
            refused = await submit_at_once(control_plane, specs())
            assert woken == []
            monkeypatch.undo()
            accepted = await submit_at_once(control_plane, specs())

    assert [(answer.status_code, answer.json()["error"]) for answer in refused] == [
        (503, "database_unavailable")
    ] * SUBMITTERS
    assert [answer.status_code for answer in accepted] == [202] * SUBMITTERS
