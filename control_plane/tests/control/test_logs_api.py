"""What a job printed, over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import httpx
import pytest
from patience import PATIENCE_SECONDS
from sqlalchemy import update

from nodus_control.testing import LocalControlPlane
from nodus_ledger.database.schema import jobs
from nodus_ledger.keys.keys import PrincipalKind

pytestmark = pytest.mark.anyio
Spec = dict[str, Any]


async def finished(client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec) -> str:
    """Run a job to its end; return the path of its logs."""
    job = (await client.post("/v1/jobs", json=spec)).json()
    control_plane.advance(1000)
    return f"/v1/jobs/{job['id']}/logs"


async def test_output_grows_with_the_clock(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec
) -> None:
    """What was printed stays; more comes after it; env and command are no part of it."""
    job = (
        await client.post("/v1/jobs", json={**spec, "env": {"TOKEN": "hunter2"}, "command": ["train", "hunter3"]})
    ).json()
    texts = []
    for _ in range(8):
        texts.append((await client.get(f"/v1/jobs/{job['id']}/logs")).text)
        control_plane.advance(600)

    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    assert texts[-1].endswith("finished: exit status 0\n")
    assert len(set(texts)) > 2
    assert "hunter" not in texts[-1]


async def test_a_range_resumes_by_byte_offset(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec
) -> None:
    """Ranges work as in RFC 9110, section 14."""
    path = await finished(client, control_plane, spec)
    whole = (await client.get(path)).content
    rest = await client.get(path, headers={"Range": "bytes=100-"})
    part = await client.get(path, headers={"Range": "bytes=5-9"})
    tail = await client.get(path, headers={"Range": "bytes=-7"})

    assert (rest.status_code, rest.content) == (206, whole[100:])
    assert (part.status_code, part.content) == (206, whole[5:10])
    assert part.headers["content-range"] == f"bytes 5-9/{len(whole)}"
    assert tail.content == whole[-7:]
    assert rest.headers["content-type"].startswith("text/plain")


async def test_what_really_ran_is_not_made_up(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec
) -> None:
    """Where its supplier is simulated by now: its output is gone, followed or not."""
    path = await finished(client, control_plane, spec)
    with control_plane.plane.database.write() as connection:
        connection.execute(update(jobs).values(simulated=False))
    live = control_plane.plane.keys.mint(
        customer_id="playground", label="", principal_kind=PrincipalKind.HUMAN, now=0, is_test=False
    )
    headers = {"Authorization": f"Bearer {live.api_key}"}
    read = [await client.get(path, headers=headers, params=params) for params in ({}, {"follow": "true"})]

    assert [(each.status_code, each.text) for each in read] == [(200, "")] * 2


async def test_a_range_beyond_the_end_is_not_satisfiable(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec
) -> None:
    """416, with the present size."""
    path = await finished(client, control_plane, spec)
    size = len((await client.get(path)).content)
    answer = await client.get(path, headers={"Range": f"bytes={size}-"})

    assert (answer.status_code, answer.json()["error"]) == (416, "range_not_satisfiable")
    assert answer.headers["content-range"] == f"bytes */{size}"


@pytest.mark.parametrize("header", ["bytes=", "bytes=-", "lines=1-2", "bytes=9-5", "bytes=1-2,4-5", "x"])
async def test_a_malformed_range_is_ignored(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec, header: str
) -> None:
    """All of the output is sent, as RFC 9110 (section 14.2) says."""
    path = await finished(client, control_plane, spec)
    answer = await client.get(path, headers={"Range": header})

    assert answer.status_code == 200


async def test_following_ends_with_the_job(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec
) -> None:
    """Together it is what a plain read gives afterwards."""
    path = await finished(client, control_plane, spec)

    assert (await client.get(f"{path}?follow=true")).text == (await client.get(path)).text


async def test_a_job_without_a_placement_has_printed_nothing(
    client: httpx.AsyncClient, control_plane: LocalControlPlane
) -> None:
    """An empty text, not an error."""
    with control_plane.plane.worker.paused():
        job = (await client.post("/v1/jobs", json={"image": "x", "gpu": "l40s"})).json()
        answer = await client.get(f"/v1/jobs/{job['id']}/logs")

    assert (answer.status_code, answer.content) == (200, b"")


def test_output_is_followed_as_it_comes(spec: Spec) -> None:
    """From before the first placement to the end; a follower that waits is told by the feed, not by the database."""
    with LocalControlPlane() as control_plane, opened_logs(control_plane, spec) as response:
        chunks = response.iter_bytes()
        for _ in range(40):
            control_plane.advance(5)
        text = b"".join(chunks).decode()
        left = control_plane.plane.feed.streams

    assert text.endswith("finished: exit status 0\n")
    assert left <= 1


def test_a_server_that_stops_breaks_output_off(spec: Spec) -> None:
    """A client must not take what it has for the whole."""
    control_plane = LocalControlPlane().start()
    try:
        with opened_logs(control_plane, spec) as response:
            control_plane.advance(30)
            chunks = response.iter_bytes()
            next(chunks)
            closing = threading.Thread(target=control_plane.close)
            closing.start()
            with pytest.raises(httpx.RemoteProtocolError):
                list(chunks)
            closing.join()
    finally:
        control_plane.close()


@contextmanager
def opened_logs(control_plane: LocalControlPlane, spec: Spec) -> Iterator[httpx.Response]:
    """Submit a job, and follow what it prints."""
    headers = {"Authorization": f"Bearer {control_plane.api_key}"}
    with httpx.Client(
        base_url=control_plane.base_url, headers=headers, trust_env=False, timeout=PATIENCE_SECONDS
    ) as client:
        with control_plane.plane.worker.paused():
            job = client.post("/v1/jobs", json=spec).json()
            response = client.send(client.build_request("GET", f"/v1/jobs/{job['id']}/logs?follow=true"), stream=True)
        try:
            yield response
        finally:
            response.close()
