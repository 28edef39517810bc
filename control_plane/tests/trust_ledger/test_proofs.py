"""Roots and proofs from what is stored are those of the tree over all leaves."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import merkle_definitions as definitions
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from nodus import _merkle as verifier
from nodus_core import merkle
from nodus_core.notes import Checkpoint
from nodus_ledger.database.database import Database
from nodus_ledger.database.sealing import Sealer, UnusableKey
from nodus_ledger.trust.log import Entry, append_all
from nodus_ledger.trust.origin import FIRST_ORIGIN, ORIGIN_VARIABLE, UnusableOrigin, advice_for, origin_for, origin_of
from nodus_ledger.trust.reader import TrustLedger, UnknownEntry, UnknownSize
from nodus_ledger.trust.signing import LedgerSigner, open_checkpoint, signer_for
from nodus_ledger.trust.tree import DamagedTree, StoredTree

SIZE = 1100
CUSTOMER = "acme"
SEALER = Sealer(bytes(32))
SEED = bytes(range(32))
ORIGIN = "ledger.example.com/nodus"


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    """A log that has inner nodes kept, and more rows than those cover."""
    opened = Database()
    with opened.write() as connection:
        append_all(connection, [Entry(CUSTOMER, "test.happened", number, {}) for number in range(SIZE)])
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def leaves(database: Database) -> list[bytes]:
    """The leaf hashes of that log."""
    with database.read() as connection:
        return [row[0] for row in connection.exec_driver_sql("SELECT leaf_hash FROM ledger ORDER BY seq")]


sizes = st.integers(1, SIZE) | st.sampled_from([1, 255, 256, 257, 511, 512, 513, 768, 1024, 1025, SIZE])


@given(size=sizes)
def test_the_root_at_any_size_is_that_of_its_leaves(database: Database, leaves: list[bytes], size: int) -> None:
    """The kept nodes give the same root as all leaves do."""
    with database.read() as connection:
        assert StoredTree(connection, CUSTOMER).root(size) == merkle.root_of(leaves[:size])


@given(data=st.data(), size=sizes)
def test_an_inclusion_proof_leads_to_the_root(
    database: Database, leaves: list[bytes], data: st.DataObject, size: int
) -> None:
    """For any row, in any tree that has it."""
    seq = data.draw(st.integers(1, size))
    with database.read() as connection:
        tree = StoredTree(connection, CUSTOMER)
        proof = tree.inclusion(seq, size)

        assert proof == definitions.inclusion_proof(leaves[:size], seq - 1)
        assert verifier.inclusion_holds(leaves[seq - 1], seq - 1, size, proof, tree.root(size))


@given(data=st.data(), size=sizes)
def test_a_consistency_proof_leads_from_root_to_root(
    database: Database, leaves: list[bytes], data: st.DataObject, size: int
) -> None:
    """From any earlier size to any later one."""
    old_size = data.draw(st.integers(1, size))
    with database.read() as connection:
        tree = StoredTree(connection, CUSTOMER)
        proof = tree.consistency(old_size, size)

        assert proof == definitions.consistency_proof(leaves[:size], old_size)
        assert verifier.consistency_holds(old_size, size, tree.root(old_size), tree.root(size), proof)


def test_a_proof_is_not_made_of_hashes_that_are_missing(database: Database) -> None:
    """A hole is told, instead of a proof that nobody can follow."""
    with database.read() as connection, pytest.raises(DamagedTree):
        StoredTree(connection, CUSTOMER).inclusion(1, SIZE + 1)


def test_what_cannot_be_proved_is_refused(database: Database) -> None:
    """Rows and sizes that the log does not have, and sizes from before the row."""
    ledger = TrustLedger(database, LedgerSigner.from_seed(SEED), ORIGIN)
    for seq in (0, SIZE + 1):
        with pytest.raises(UnknownEntry):
            ledger.inclusion(CUSTOMER, seq, None)
    for size in (4, SIZE + 1):
        with pytest.raises(UnknownSize):
            ledger.inclusion(CUSTOMER, 5, size)
    for old_size, size in ((0, 1), (2, 1), (1, SIZE + 1)):
        with pytest.raises(UnknownSize):
            ledger.consistency(CUSTOMER, old_size, size)


def test_a_checkpoint_is_signed_and_kept(database: Database, leaves: list[bytes]) -> None:
    """Asked twice of the same log, it is the same note; who has the public key can open it."""
    signer = LedgerSigner.from_seed(SEED)
    ledger = TrustLedger(database, signer, ORIGIN)
    first, second = ledger.checkpoint(CUSTOMER), ledger.checkpoint(CUSTOMER)
    with database.read() as connection:
        kept = connection.exec_driver_sql("SELECT size, root, note FROM ledger_checkpoints").all()

    assert first == second
    assert first.checkpoint == Checkpoint(f"{ORIGIN}/acme", SIZE, merkle.root_of(leaves))
    assert open_checkpoint(first.note, f"{ORIGIN}/{CUSTOMER}", signer.public_key) == first.checkpoint
    assert kept == [(SIZE, merkle.root_of(leaves), first.note)]


def test_a_checkpoint_of_one_log_is_none_of_another(database: Database) -> None:
    """Logs of all customers share a key; their names tell them apart."""
    signer = LedgerSigner.from_seed(SEED)
    note = TrustLedger(database, signer, ORIGIN).checkpoint(CUSTOMER).note

    with pytest.raises(ValueError, match="signature"):
        open_checkpoint(note, f"{ORIGIN}/globex", signer.public_key)


def test_an_empty_log_has_a_checkpoint_too() -> None:
    """Of nothing, the root is the empty tree's."""
    empty = Database()
    signed = TrustLedger(empty, LedgerSigner.from_seed(SEED), ORIGIN).checkpoint("nobody")
    empty.close()

    assert signed.checkpoint == Checkpoint(f"{ORIGIN}/nobody", 0, merkle.EMPTY_ROOT)


@pytest.mark.parametrize(
    ("customer_id", "expected"),
    [("acme", "acme"), ("a b+c/d", "a%20b%2Bc%2Fd"), ("☃", "%E2%98%83"), ("a%20b", "a%2520b")],
)
def test_any_customer_can_have_a_log(customer_id: str, expected: str) -> None:
    """What cannot stand in a key's name is encoded, so that no two customers share a name."""
    assert origin_of(ORIGIN, customer_id) == f"{ORIGIN}/{expected}"


def test_the_signing_key_is_made_once_and_kept_sealed() -> None:
    """A restart signs with the same key; the database alone does not give it away."""
    database = Database()
    first, second = signer_for(database, SEALER), signer_for(database, SEALER)
    with database.read() as connection:
        kept = repr(connection.exec_driver_sql("SELECT * FROM settings").all())
    with pytest.raises(UnusableKey):
        signer_for(database, Sealer(bytes(31) + b"x"))
    database.close()

    assert first.public_key == second.public_key
    assert first.public_key.hex() in kept


def test_a_signing_key_may_be_given() -> None:
    """In hex or base64; then the database has its public half alone, and takes no other."""
    database = Database()
    given_hex = signer_for(database, SEALER, SEED.hex())
    given_base64 = signer_for(database, SEALER, base64.b64encode(SEED).decode())
    with database.read() as connection:
        names = {row[0] for row in connection.exec_driver_sql("SELECT name FROM settings")}
    for environment in (None, "", bytes(32).hex(), "short"):
        with pytest.raises(UnusableKey, match="NODUS_LEDGER_SIGNING_KEY"):
            signer_for(database, SEALER, environment)
    database.close()

    assert given_hex.public_key == given_base64.public_key
    assert names == {"ledger public key"}


@pytest.fixture
def fresh(empty_database_url: str) -> Iterator[Database]:
    """A database in which nothing happened yet."""
    opened = Database(empty_database_url)
    yield opened
    opened.close()


def record_something(database: Database) -> None:
    """Write a first row."""
    with database.write() as connection:
        append_all(connection, [Entry(CUSTOMER, "test.happened", 0, {})])


@pytest.mark.both_engines
def test_the_name_of_the_logs_is_fixed_once_there_is_a_row(fresh: Database) -> None:
    """Until then it may be chosen; then another is refused, and the message says which to set."""
    chosen = [origin_for(fresh, given, database_id="d1") for given in (None, "a.test", ORIGIN, None, "")]
    record_something(fresh)
    kept = [origin_for(fresh, given, database_id="d2") for given in (None, "", ORIGIN)]
    with pytest.raises(UnusableOrigin, match=f"named {ORIGIN}.*cannot become b.test: set {ORIGIN_VARIABLE} to"):
        origin_for(fresh, "b.test", database_id="d2")

    assert chosen == ["localhost/d1", "a.test", ORIGIN, ORIGIN, ORIGIN]
    assert kept == [ORIGIN] * 3


def test_rows_from_before_the_first_start_leave_the_choice(fresh: Database) -> None:
    """A key was minted before the control plane served anybody: no checkpoint has been given out."""
    record_something(fresh)

    assert origin_for(fresh, ORIGIN, database_id="d1") == ORIGIN
    assert origin_for(fresh, None, database_id="d1") == ORIGIN


@pytest.mark.both_engines
def test_a_name_must_be_chosen_before_the_first_row_where_that_is_asked(fresh: Database) -> None:
    """Whatever was taken while nothing was recorded; logs that have begun keep theirs."""

    def name_of(given: str | None) -> str:
        return origin_for(fresh, given, database_id="d1", must_be_chosen=True)

    with pytest.raises(UnusableOrigin, match=f"set {ORIGIN_VARIABLE} to a name of yours"):
        name_of(None)
    assert origin_for(fresh, None, database_id="d1") == "localhost/d1"
    with pytest.raises(UnusableOrigin, match=f"set {ORIGIN_VARIABLE} to a name of yours"):
        name_of("")
    record_something(fresh)

    assert name_of(None) == name_of("localhost/d1") == "localhost/d1"


def test_advice_on_the_name_is_given_as_long_as_it_can_be_followed(fresh: Database) -> None:
    """Not before there is one, nor once it was chosen, nor when it is too late."""
    told = [advice_for(fresh)]
    for chosen in (None, ORIGIN):
        origin_for(fresh, chosen, database_id="d1")
        told.append(advice_for(fresh))
    with fresh.write() as connection:
        connection.execute(text("UPDATE settings SET value = 'localhost/d1' WHERE name = 'ledger origin'"))
    told.append(advice_for(fresh))
    record_something(fresh)
    told.append(advice_for(fresh))

    assert [advice is not None for advice in told] == [False, True, False, True, False]
    assert "named localhost/d1, which says nothing of you" in str(told[1])
    assert f"set {ORIGIN_VARIABLE} to a name of yours" in str(told[1])


def test_a_name_that_was_chosen_need_not_be_given_again(fresh: Database) -> None:
    """By another process, say; of a key that was minted before, no checkpoint was given out."""
    record_something(fresh)
    with pytest.raises(UnusableOrigin, match="for good"):
        origin_for(fresh, None, database_id="d1", must_be_chosen=True)
    chosen = [origin_for(fresh, given, database_id="d1", must_be_chosen=True) for given in (ORIGIN, None)]

    assert chosen == [ORIGIN, ORIGIN]


@pytest.mark.parametrize("given", ["https://a.test", "a.test/", "a b", "a+b", "a.test//x", "A.test", "a.test/ü", "-a"])
def test_a_name_must_be_one_that_a_signed_note_can_hold(fresh: Database, given: str) -> None:
    """An origin is a host name and a path."""
    with pytest.raises(UnusableOrigin, match=r"such as ledger\.acme\.com/nodus"):
        origin_for(fresh, given, database_id="d1")


def test_the_name_from_before_is_one_too(fresh: Database) -> None:
    """Logs that have it keep it, and it may be given."""
    assert origin_for(fresh, FIRST_ORIGIN, database_id="d1") == FIRST_ORIGIN
