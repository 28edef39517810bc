"""What an agent's key reaches beyond its own jobs: nothing that others' secrets or submissions depend on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import update

import nodus
from nodus_control.testing import LocalControlPlane
from nodus_core.spec import parse_spec
from nodus_ledger.database.schema import jobs
from nodus_ledger.errors import IdempotencyKeyReused
from nodus_ledger.jobs.submission import Submitted
from nodus_ledger.keys.keys import KeyRecord

pytestmark = pytest.mark.both_engines


@pytest.fixture
def control_plane(database_url: str) -> Iterator[LocalControlPlane]:
    """A control plane on loopback, with a person's key and an agent's key of one customer."""
    with LocalControlPlane(database=database_url) as started:
        yield started


@pytest.fixture
def person(control_plane: LocalControlPlane) -> Iterator[nodus.Client]:
    """A client with the person's key."""
    with nodus.Client(api_key=control_plane.api_key, base_url=control_plane.base_url, max_retries=0) as opened:
        yield opened


@pytest.fixture
def agent(control_plane: LocalControlPlane) -> Iterator[nodus.Client]:
    """A client with the agent's key."""
    with nodus.Client(
        api_key=control_plane.agent_api_key,
        base_url=control_plane.base_url,
        signing_secret=control_plane.agent_signing_secret,
        max_retries=0,
    ) as opened:
        yield opened


def record_of(control_plane: LocalControlPlane, api_key: str) -> KeyRecord:
    """Look a key up."""
    key = control_plane.plane.keys.find(api_key)
    assert key is not None
    return key


def submit(control_plane: LocalControlPlane, key: KeyRecord, idempotency_key: str, image: str = "a/b") -> Submitted:
    """Submit a small job under an idempotency key."""
    spec = parse_spec({"image": image, "gpu": "l40s", "max_runtime_seconds": 60})
    return control_plane.plane.jobs.submit(key, spec, idempotency_key, control_plane.plane.clock.now())


def test_an_agent_cannot_take_a_persons_idempotency_key(
    control_plane: LocalControlPlane, person: nodus.Client, agent: nodus.Client
) -> None:
    """Each is a job of its own, whoever comes first, and each is found again by who submitted it."""
    squatted = agent.run(image="squat/1", gpu="l40s", max_runtime_seconds=60, idempotency_key="nightly")
    nightly = person.run(image="a/b", gpu="l40s", max_runtime_seconds=60, idempotency_key="nightly")
    again = person.run(image="a/b", gpu="l40s", max_runtime_seconds=60, idempotency_key="nightly")
    agents_again = agent.run(image="squat/1", gpu="l40s", max_runtime_seconds=60, idempotency_key="nightly")
    with pytest.raises(nodus.NodusError) as reused:
        agent.run(image="squat/2", gpu="l40s", max_runtime_seconds=60, idempotency_key="nightly")

    assert again.id == nightly.id
    assert agents_again.id == squatted.id != nightly.id
    assert reused.value.code == "idempotency_key_reused"


def test_submissions_from_before_there_were_scopes_are_found_without_one(control_plane: LocalControlPlane) -> None:
    """An agent's retry across the upgrade is still the same submission; and a person's key is still taken by it."""
    person, agent = (
        record_of(control_plane, control_plane.api_key),
        record_of(control_plane, control_plane.agent_api_key),
    )
    before = submit(control_plane, agent, "one").job
    of_person = submit(control_plane, person, "two").job
    with control_plane.plane.database.write() as connection:
        connection.execute(update(jobs).values(idempotency_scope=""))
    again = submit(control_plane, agent, "one")
    with pytest.raises(IdempotencyKeyReused):
        submit(control_plane, person, "one", image="other")
    own = submit(control_plane, agent, "two", image="other")

    assert (again.replayed, again.job.id) == (True, before.id)
    assert not own.replayed
    assert own.job.id != of_person.id
    assert submit(control_plane, agent, "two", image="other").job.id == own.job.id


def test_an_agent_sees_the_ledger_rows_of_its_own_key_and_jobs(
    control_plane: LocalControlPlane, person: nodus.Client, agent: nodus.Client
) -> None:
    """With proofs that lead to the checkpoint which everybody sees; nothing of anybody else, whatever it asks for."""
    persons = person.run(image="a/b", gpu="l40s", command=["unlock", "--pin", "48213"], max_runtime_seconds=60)
    own = agent.run(image="a/b", gpu="l40s", max_runtime_seconds=60)
    control_plane.advance(3600)
    checkpoint, key = agent.ledger.checkpoint(), agent.ledger.key()
    rows, everything = agent.ledger.entries(), person.ledger.entries()
    key_id = agent.key().id

    assert {row.key_id for row in rows} == {key_id}
    assert {row.kind for row in rows} >= {"key.minted", "job.submitted", "job.settled"}
    assert {row.job_id for row in rows} == {None, own.id}
    assert rows == [row for row in everything if row.key_id == key_id]
    assert agent.ledger.entries(job_id=persons.id) == []
    for row in rows:
        proof = agent.ledger.proof(row.seq, size=checkpoint.size)
        nodus.verify_inclusion(row, proof, checkpoint=checkpoint, public_key=key)
    foreign = next(row.seq for row in everything if row.key_id != key_id)
    with pytest.raises(nodus.NotFoundError):
        agent.ledger.proof(foreign)
    assert person.ledger.proof(foreign).seq == foreign


def test_pages_of_an_agents_rows_leave_none_out(
    control_plane: LocalControlPlane, person: nodus.Client, agent: nodus.Client
) -> None:
    """However many rows of others lie between."""
    for _ in range(3):
        person.run(image="a/b", gpu="l40s", max_runtime_seconds=60)
        agent.run(image="a/b", gpu="l40s", max_runtime_seconds=60)
    control_plane.advance(7200)
    key_id = agent.key().id
    expected = [row for row in person.ledger.entries() if row.key_id == key_id]

    assert list(agent.ledger.iter_entries(page_size=2)) == expected
    assert len({row.job_id for row in expected}) == 4
