"""`client.ledger` and `job.ledger()`: what each call sends, and what it makes of the answer."""

from __future__ import annotations

from typing import Any

import pydantic
import pytest

import nodus
from tests._async.clients import scripted
from tests.support.script import AsyncScript, job_reply, reply


def row(seq: int, **fields: object) -> dict[str, object]:
    """A row as the server describes it."""
    return {
        "seq": seq,
        "at": "2026-01-01T00:00:00.000Z",
        "kind": "job.submitted",
        "job_id": "0198",
        "key_id": "k-1",
        "principal_kind": "agent",
        "payload": {"estimated_cost_micros": 50_500_000},
        "prev_hash": "0" * 64,
        "leaf": "{}",
        "leaf_hash": "1" * 64,
        **fields,
    }


def page(*numbers: int, next_after: int | None = None) -> Any:
    return reply(200, {"entries": [row(seq) for seq in numbers], "next_after": next_after})


async def test_entries_gives_all_rows_in_their_order() -> None:
    """As many pages as it takes."""
    script = AsyncScript(page(1, 2, next_after=2), page(3))
    async with scripted(script) as client:
        entries = await client.ledger.entries()

    assert [entry.seq for entry in entries] == [1, 2, 3]
    assert [request.url.raw_path for request in script.requests] == [
        b"/v1/ledger?after=0&limit=200",
        b"/v1/ledger?after=2&limit=200",
    ]


async def test_an_entry_has_every_field_of_its_row() -> None:
    """The time stays the text that was hashed, and what this version does not know is passed over."""
    script = AsyncScript(reply(200, {"entries": [row(1, new=1)], "next_after": None}))
    async with scripted(script) as client:
        entries = await client.ledger.entries()

    assert [entry.model_dump() for entry in entries] == [row(1)]
    assert entries[0].principal_kind is nodus.PrincipalKind.AGENT
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        entries[0].seq = 2  # type: ignore[misc]


async def test_entries_ends_at_the_limit() -> None:
    """In the middle of a page, and without asking for the next."""
    script = AsyncScript(page(8, 9, 10, next_after=10))
    async with scripted(script) as client:
        entries = await client.ledger.entries(job_id="0198", after=7, limit=2)

    assert [entry.seq for entry in entries] == [8, 9]
    assert script.requests[0].url.raw_path == b"/v1/ledger?after=7&job_id=0198&limit=2"


@pytest.mark.parametrize("next_after", [0, 2])
async def test_a_position_that_does_not_advance_ends_it(next_after: int) -> None:
    """A server that goes in circles does not make it endless."""
    script = AsyncScript(page(1, 2, next_after=2), page(next_after=next_after))
    async with scripted(script) as client:
        entries = await client.ledger.entries()

    assert [entry.seq for entry in entries] == [1, 2]


async def test_rows_can_be_walked_through() -> None:
    """A page is asked for when the one before is used up, one without rows included."""
    script = AsyncScript(page(1, next_after=5), page(next_after=9), page(10))
    async with scripted(script) as client:
        seen = [entry.seq async for entry in client.ledger.iter_entries(job_id="a b", page_size=1)]

    assert seen == [1, 10]
    assert [request.url.query for request in script.requests] == [
        b"after=0&job_id=a+b&limit=1",
        b"after=5&job_id=a+b&limit=1",
        b"after=9&job_id=a+b&limit=1",
    ]


async def test_a_job_has_its_rows() -> None:
    """Those that are about it."""
    script = AsyncScript(job_reply("completed", id="0198"), page(4, 9))
    async with scripted(script) as client:
        entries = await (await client.get("0198")).ledger()

    assert [entry.seq for entry in entries] == [4, 9]
    assert script.requests[1].url.raw_path == b"/v1/ledger?after=0&job_id=0198&limit=200"


async def test_checkpoint_and_key_are_what_the_server_signs_with() -> None:
    """Both are values to keep."""
    checkpoint = {"origin": "o", "size": 3, "root_hash": "2" * 64, "note": "o\n3\n…"}
    key = {"origin": "o", "algorithm": "ed25519", "public_key": "AAAA", "vkey": "o+0+AAAA"}
    script = AsyncScript(reply(200, checkpoint), reply(200, key))
    async with scripted(script) as client:
        got = [await client.ledger.checkpoint(), await client.ledger.key()]

    assert got == [nodus.LedgerCheckpoint(**checkpoint), nodus.LedgerKey(**key)]
    assert [request.url.raw_path for request in script.requests] == [b"/v1/ledger/checkpoint", b"/v1/ledger/key"]


async def test_proofs_are_asked_for_by_row_and_by_size() -> None:
    """Without a size, for the ledger as it is."""
    inclusion = {"seq": 2, "size": 3, "leaf_hash": "1" * 64, "hashes": ["2" * 64]}
    consistency = {"from": 2, "to": 3, "hashes": ["3" * 64]}
    script = AsyncScript(reply(200, inclusion), reply(200, inclusion), reply(200, consistency))
    async with scripted(script) as client:
        proofs = [await client.ledger.proof(2), await client.ledger.proof(2, size=3)]
        growth = await client.ledger.consistency(2, 3)

    assert proofs == [nodus.InclusionProof(seq=2, size=3, leaf_hash="1" * 64, hashes=["2" * 64])] * 2
    assert (growth.from_size, growth.to_size, growth.hashes) == (2, 3, ["3" * 64])
    assert [request.url.raw_path for request in script.requests] == [
        b"/v1/ledger/2/proof",
        b"/v1/ledger/2/proof?size=3",
        b"/v1/ledger/consistency?from=2&to=3",
    ]


async def test_arguments_that_cannot_be_right_are_refused_before_sending() -> None:
    """Rows and sizes count from 1, and nothing shrinks."""
    script = AsyncScript()
    async with scripted(script) as client:
        ledger = client.ledger
        for wrong in (
            lambda: ledger.proof(0),
            lambda: ledger.proof(True),
            lambda: ledger.proof(3, size=2),
            lambda: ledger.consistency(0, 3),
            lambda: ledger.consistency(3, 2),
            lambda: ledger.entries(after=-1),
            lambda: ledger.entries(limit=0),
        ):
            with pytest.raises(nodus.ValidationError) as caught:
                await wrong()

            assert caught.value.code == "invalid_argument"
        with pytest.raises(nodus.ValidationError, match="page_size"):
            ledger.iter_entries(page_size=0)
        with pytest.raises(nodus.ValidationError, match="job id"):
            await ledger.entries(job_id="..")

    assert script.requests == []
