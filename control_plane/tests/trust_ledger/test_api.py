"""`/v1/ledger` over HTTP: what is answered, and what is refused."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from trust_ledger.history import key_of, submit

from nodus import _merkle as verifier
from nodus_control.testing import LocalControlPlane
from nodus_core.merkle import root_of
from nodus_core.notes import encode_verifier_key
from nodus_ledger.keys.keys import PrincipalKind
from nodus_ledger.trust.origin import ORIGIN_VARIABLE
from nodus_ledger.trust.signing import open_checkpoint
from nodus_ledger.verification.verify import verify

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(control_plane: LocalControlPlane, anyio_backend: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the person's key, of a customer with a job that is over."""
    submit(control_plane, key_of(control_plane, control_plane.api_key), 1)
    control_plane.advance(3600)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=control_plane.asgi_app),
        base_url="http://127.0.0.1",
        headers={"Authorization": f"Bearer {control_plane.api_key}"},
    ) as opened:
        yield opened


@pytest.mark.both_engines
async def test_rows_come_in_their_order_page_by_page(client: httpx.AsyncClient) -> None:
    """`next_after` leads on until there are no more."""
    whole = (await client.get("/v1/ledger")).json()
    seen, after = [], 0
    while True:
        page = (await client.get("/v1/ledger", params={"limit": 2, "after": after})).json()
        seen += page["entries"]
        if page["next_after"] is None:
            break
        after = page["next_after"]

    assert seen == whole["entries"]
    assert [entry["seq"] for entry in seen] == list(range(1, len(seen) + 1))
    assert whole["next_after"] is None


@pytest.mark.both_engines
async def test_rows_can_be_asked_for_by_job(client: httpx.AsyncClient) -> None:
    """The view of a job points to the row of its end, which is among them."""
    job = (await client.get("/v1/jobs")).json()["jobs"][0]
    entries = (await client.get("/v1/ledger", params={"job_id": job["id"]})).json()["entries"]
    other = (await client.get("/v1/ledger", params={"job_id": "other"})).json()

    assert {entry["job_id"] for entry in entries} == {job["id"]}
    assert job["ledger"] in [{"seq": entry["seq"], "leaf_hash": entry["leaf_hash"]} for entry in entries]
    assert other == {"entries": [], "next_after": None}


@pytest.mark.both_engines
async def test_a_checkpoint_and_its_proofs_verify(client: httpx.AsyncClient) -> None:
    """With the key alone: the note, a row's inclusion, and that the log only grew."""
    key = (await client.get("/v1/ledger/key")).json()
    checkpoint = (await client.get("/v1/ledger/checkpoint")).json()
    proof = (await client.get("/v1/ledger/3/proof", params={"size": checkpoint["size"]})).json()
    ranges = {"from": 2, "to": checkpoint["size"]}
    consistency = (await client.get("/v1/ledger/consistency", params=ranges)).json()
    entries = (await client.get("/v1/ledger")).json()["entries"]
    public_key = base64.b64decode(key["public_key"])
    root = bytes.fromhex(checkpoint["root_hash"])
    leaves = [bytes.fromhex(entry["leaf_hash"]) for entry in entries]
    path, growth = ([bytes.fromhex(each) for each in answer["hashes"]] for answer in (proof, consistency))

    assert key["vkey"] == encode_verifier_key(key["origin"], public_key)
    assert open_checkpoint(checkpoint["note"], checkpoint["origin"], public_key) == (
        key["origin"],
        checkpoint["size"],
        root,
    )
    assert (proof["seq"], proof["leaf_hash"]) == (3, entries[2]["leaf_hash"])
    assert verifier.inclusion_holds(leaves[2], 2, proof["size"], path, root)
    assert {name: consistency[name] for name in ranges} == ranges
    assert verifier.consistency_holds(2, checkpoint["size"], root_of(leaves[:2]), root, growth)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/ledger?limit=0", 422, "invalid_query"),
        ("/v1/ledger?limit=many", 422, "invalid_query"),
        ("/v1/ledger?after=-1", 422, "invalid_query"),
        ("/v1/ledger?after=١", 422, "invalid_query"),
        ("/v1/ledger/0/proof", 404, "ledger_entry_not_found"),
        ("/v1/ledger/x/proof", 404, "ledger_entry_not_found"),
        (f"/v1/ledger/{10**30}/proof", 404, "ledger_entry_not_found"),
        ("/v1/ledger/999/proof", 404, "ledger_entry_not_found"),
        ("/v1/ledger/3/proof?size=2", 404, "ledger_size_not_found"),
        ("/v1/ledger/3/proof?size=999", 404, "ledger_size_not_found"),
        ("/v1/ledger/3/proof?size=0", 422, "invalid_query"),
        ("/v1/ledger/consistency", 422, "invalid_query"),
        ("/v1/ledger/consistency?from=1", 422, "invalid_query"),
        ("/v1/ledger/consistency?from=0&to=1", 422, "invalid_query"),
        ("/v1/ledger/consistency?from=3&to=2", 422, "invalid_query"),
        (f"/v1/ledger/consistency?from=1&to={10**30}", 404, "ledger_size_not_found"),
    ],
)
async def test_what_cannot_be_answered_is_refused(client: httpx.AsyncClient, path: str, status: int, code: str) -> None:
    """With a code, never with a 500."""
    answer = await client.get(path)

    assert (answer.status_code, answer.json()["error"]) == (status, code)


@pytest.mark.parametrize("path", ["", "/key", "/checkpoint", "/1/proof", "/consistency?from=1&to=1"])
async def test_everything_needs_a_key(client: httpx.AsyncClient, path: str) -> None:
    """The ledger is the customer's."""
    answer = await client.get(f"/v1/ledger{path}", headers={"Authorization": "Bearer nk_live_nobody"})

    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_api_key")


async def test_a_page_has_at_most_two_hundred_rows(control_plane: LocalControlPlane, client: httpx.AsyncClient) -> None:
    """A larger limit is capped, and the default is fifty."""
    human = key_of(control_plane, control_plane.api_key)
    for number in range(220):
        submit(control_plane, human, number + 2)
    sizes = [
        len((await client.get("/v1/ledger", params=params)).json()["entries"])
        for params in ({}, {"limit": "100000000000000000000"}, {"limit": "201"})
    ]

    assert sizes == [50, 200, 200]


async def test_customers_do_not_see_each_other(control_plane: LocalControlPlane, client: httpx.AsyncClient) -> None:
    """Rows, checkpoint and origin are those of the key's customer."""
    minted = control_plane.plane.keys.mint(customer_id="acme", label="a", principal_kind=PrincipalKind.HUMAN, now=0)
    job_id = (await client.get("/v1/jobs")).json()["jobs"][0]["id"]
    headers = {"Authorization": f"Bearer {minted.api_key}"}
    entries = (await client.get("/v1/ledger", headers=headers)).json()["entries"]
    of_job = (await client.get("/v1/ledger", params={"job_id": job_id}, headers=headers)).json()["entries"]
    checkpoint = (await client.get("/v1/ledger/checkpoint", headers=headers)).json()

    assert [entry["kind"] for entry in entries] == ["key.minted"]
    assert of_job == []
    assert (checkpoint["origin"], checkpoint["size"]) == (control_plane.plane.trust_ledger.origin_of("acme"), 1)
    assert checkpoint["origin"] == f"localhost/{control_plane.plane.settings.database_id()}/acme"


@pytest.mark.parametrize("chosen", [None, "ledger.example.com/nodus"])
async def test_logs_that_begin_anew_have_another_name(monkeypatch: pytest.MonkeyPatch, chosen: str | None) -> None:
    """Who kept a checkpoint of the old ones sees other logs, not shorter ones; a name that was chosen stays."""
    if chosen is not None:
        monkeypatch.setenv(ORIGIN_VARIABLE, chosen)
    with LocalControlPlane(serve=False) as control_plane:
        ledger = control_plane.plane.trust_ledger
        before = ledger.checkpoint("playground").checkpoint.origin
        control_plane.reset()
        after = ledger.checkpoint("playground").checkpoint.origin
        report = verify(control_plane.plane.database)

    assert (before == after) == (chosen is not None)
    assert after.endswith("/playground")
    assert report.faults == []
