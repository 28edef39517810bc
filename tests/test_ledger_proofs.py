"""Proofs about a ledger: that a row is in it, and that it grew out of an older one, without the other rows."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nodus
from tests.support import signed_ledger as ledger
from tests.support.merkle_definitions import consistency_proof, inclusion_proof

ROWS = ledger.rows(21)
HASHES = ledger.leaf_hashes(ROWS)
KEY = ledger.key_of()
CHECKPOINTS = [ledger.checkpoint_of(ROWS[:size]) for size in range(22)]


def inclusion(seq: int, size: int) -> dict[str, Any]:
    """The proof of a row, as the server gives it."""
    hashes = [one.hex() for one in inclusion_proof(HASHES[:size], seq - 1)]
    return {"seq": seq, "size": size, "leaf_hash": ROWS[seq - 1]["leaf_hash"], "hashes": hashes}


def consistency(old: int, new: int) -> dict[str, Any]:
    """The proof of a growth, as the server gives it."""
    hashes = [one.hex() for one in consistency_proof(HASHES[:new], old)] if old else []
    return {"from": old, "to": new, "hashes": hashes}


def test_every_row_is_proved_in_every_ledger_that_has_it() -> None:
    """All sizes up to 21 rows are tried, under a signed checkpoint."""
    for size in range(1, 22):
        for seq in range(1, size + 1):
            nodus.verify_inclusion(ROWS[seq - 1], inclusion(seq, size), checkpoint=CHECKPOINTS[size], public_key=KEY)


def test_every_growth_is_proved() -> None:
    """Every pair of sizes is tried; from an empty ledger there is nothing to prove."""
    for old, new in itertools.combinations_with_replacement(range(22), 2):
        nodus.verify_consistency(CHECKPOINTS[old], CHECKPOINTS[new], consistency(old, new), public_key=KEY)


def test_rows_and_proofs_may_be_what_the_client_gave() -> None:
    """A job's two facts about its last row serve as a row too."""
    checkpoint = nodus.LedgerCheckpoint(**CHECKPOINTS[9])
    key = nodus.LedgerKey(**KEY)
    proof = nodus.InclusionProof(**inclusion(5, 9))
    row = nodus.LedgerRow(seq=5, leaf_hash=ROWS[4]["leaf_hash"])
    growth = nodus.ConsistencyProof.model_validate(consistency(5, 9))

    nodus.verify_inclusion(nodus.LedgerEntry(**ROWS[4]), proof, checkpoint=checkpoint, public_key=key)
    nodus.verify_inclusion(row, proof, checkpoint=checkpoint, public_key=key)
    nodus.verify_consistency(nodus.LedgerCheckpoint(**CHECKPOINTS[5]), checkpoint, growth, public_key=key)


def refused_inclusion(code: str, row: Any, proof: Any, checkpoint: Any = CHECKPOINTS[9], **options: Any) -> None:
    with pytest.raises(nodus.LedgerError) as caught:
        nodus.verify_inclusion(row, proof, checkpoint=checkpoint, **options)

    assert caught.value.code == code


def refused_consistency(code: str, old: Any, new: Any, proof: Any, **options: Any) -> None:
    with pytest.raises(nodus.LedgerError) as caught:
        nodus.verify_consistency(old, new, proof, **options)

    assert caught.value.code == code


@settings(deadline=None)
@given(st.integers(1, 9), st.data())
def test_a_proof_with_a_hash_changed_is_refused(seq: int, data: st.DataObject) -> None:
    """Any changed digit, a missing hash and an additional one are found."""
    proof = inclusion(seq, 9)
    hashes = proof["hashes"]
    which = data.draw(st.integers(0, len(hashes) - 1))
    place = data.draw(st.integers(0, 63))
    digit = "0" if hashes[which][place] != "0" else "1"
    spoiled = hashes[which][:place] + digit + hashes[which][place + 1 :]

    for wrong in ([*hashes[:which], spoiled, *hashes[which + 1 :]], [*hashes, "0" * 64], hashes[:-1]):
        refused_inclusion("ledger_proof_invalid", ROWS[seq - 1], {**proof, "hashes": wrong})


def test_a_proof_of_something_else_is_refused() -> None:
    """It belongs to another row, another size or another checkpoint."""
    refused_inclusion("ledger_proof_invalid", ROWS[3], inclusion(5, 9))
    refused_inclusion("ledger_proof_invalid", ROWS[4], inclusion(5, 10))
    refused_inclusion("ledger_proof_invalid", ROWS[9], {"hashes": []})
    refused_inclusion("ledger_proof_invalid", ROWS[4], {"hashes": inclusion(5, 10)["hashes"]})
    refused_inclusion("ledger_proof_invalid", {"seq": 5, "leaf_hash": "0" * 64}, {"hashes": inclusion(5, 9)["hashes"]})


def test_a_row_is_verified_before_its_proof() -> None:
    """Its members must be those that were hashed."""
    refused_inclusion("ledger_field_mismatch", {**ROWS[4], "kind": "job.failed"}, inclusion(5, 9))
    refused_inclusion("ledger_leaf_mismatch", {**ROWS[4], "leaf": "{}"}, inclusion(5, 9))


@pytest.mark.parametrize("row", [{}, {"seq": True, "leaf_hash": "0" * 64}, {"seq": 5, "leaf_hash": "0"}, {"seq": 5}])
def test_what_is_no_row_is_malformed(row: Any) -> None:
    """It has no leaf to prove."""
    refused_inclusion("ledger_malformed", row, inclusion(5, 9))


@pytest.mark.parametrize("hashes", [None, "0" * 64, ["0"], [7], ["A" * 64]])
def test_what_is_no_list_of_hashes_is_no_proof(hashes: Any) -> None:
    """This holds for both kinds of proofs."""
    refused_inclusion("ledger_proof_invalid", ROWS[4], {**inclusion(5, 9), "hashes": hashes})
    refused_consistency("ledger_proof_invalid", CHECKPOINTS[5], CHECKPOINTS[9], {"hashes": hashes})


def test_a_checkpoint_that_is_not_signed_by_the_key_proves_nothing() -> None:
    """This holds for both kinds of proofs, and for either checkpoint of a consistency proof."""
    forged = ledger.checkpoint_of(ROWS[:9], private=ledger.OTHER_PRIVATE)
    proof = consistency(5, 9)

    refused_inclusion("ledger_signature_invalid", ROWS[4], inclusion(5, 9), forged, public_key=KEY)
    refused_consistency("ledger_signature_invalid", CHECKPOINTS[5], forged, proof, public_key=KEY)
    refused_consistency("ledger_signature_invalid", forged, CHECKPOINTS[9], proof, public_key=KEY)


def test_a_history_that_was_rewritten_cannot_be_proved() -> None:
    """No list of hashes makes it consistent."""
    rewritten = ledger.relink([{**row, "kind": "job.failed"} for row in ROWS[:9]])
    hashes = ledger.leaf_hashes(rewritten)
    checkpoint = ledger.checkpoint_of(rewritten)
    proof = {"hashes": [one.hex() for one in consistency_proof(hashes, 5)]}

    refused_consistency("ledger_proof_invalid", CHECKPOINTS[5], checkpoint, proof, public_key=KEY)
    refused_consistency("ledger_proof_invalid", CHECKPOINTS[5], checkpoint, consistency(5, 9), public_key=KEY)
    refused_consistency("ledger_history_rewritten", CHECKPOINTS[9], checkpoint, {"hashes": []}, public_key=KEY)


def test_a_ledger_does_not_shrink_or_change_its_name() -> None:
    """No proof can justify either."""
    other = ledger.checkpoint_of(ROWS[:9], origin="nodus.run/ledger/evil")

    refused_consistency("ledger_truncated", CHECKPOINTS[9], CHECKPOINTS[5], consistency(5, 9))
    refused_consistency("ledger_origin_mismatch", CHECKPOINTS[5], other, consistency(5, 9))


@settings(deadline=None)
@given(st.integers(0, 21), st.integers(0, 21), st.lists(st.sampled_from([one.hex() for one in HASHES]), max_size=7))
def test_proofs_that_somebody_made_up_are_refused(old: int, new: int, hashes: list[str]) -> None:
    """The exceptions are a growth that needs no proof, and the right one found by chance."""
    if old <= new and hashes == consistency(old, new)["hashes"]:
        return

    with pytest.raises(nodus.LedgerError):
        nodus.verify_consistency(CHECKPOINTS[old], CHECKPOINTS[new], {"hashes": hashes})
