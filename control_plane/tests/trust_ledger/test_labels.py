"""Labels in the ledger, and the rows by which jobs are found by them: whatever says otherwise is named."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import nodus
from nodus_control.testing import LocalControlPlane
from nodus_ledger.start_over import start_over
from nodus_ledger.verification.verify import verify

pytestmark = pytest.mark.both_engines

LABELS = {"team": "夜間: 1", "gpu-test": ""}


@pytest.fixture
def served(database_url: str) -> Iterator[LocalControlPlane]:
    """A control plane on loopback."""
    with LocalControlPlane(database=database_url) as started:
        yield started


def faults_after(plane: LocalControlPlane, statement: str) -> list[str]:
    """Change rows below everything; return what a verification finds."""
    with plane.plane.database.write() as connection:
        assert connection.exec_driver_sql(statement).rowcount > 0
    return [str(fault) for fault in verify(plane.plane.database).faults]


def test_labels_are_in_the_row_of_the_submission_and_in_an_index(served: LocalControlPlane) -> None:
    """As they came; the index is held against them, and they against the ledger."""
    with nodus.Client(served.api_key, base_url=served.base_url) as client:
        labelled, plain = client.run(image="a/b", labels=LABELS), client.run(image="a/b")
        recorded = [job.ledger()[0].payload["labels"] for job in (labelled, plain)]
    sound = verify(served.plane.database).is_sound

    not_found = f"job {labelled.id}: it is not found by the labels that it has"
    assert recorded == [LABELS, None]
    assert sound
    [fault] = faults_after(served, "UPDATE job_labels SET value = 'x' WHERE key = 'team'")
    assert not_found in fault
    [fault] = faults_after(served, "DELETE FROM job_labels WHERE key = 'team'")
    assert not_found in fault
    faults = faults_after(served, "UPDATE job_labels SET seq = 99")
    assert len(faults) == 2
    assert not_found in faults[0]
    assert "labels of job number 99" in faults[1]
    faults = faults_after(served, "UPDATE jobs SET labels = NULL WHERE labels IS NOT NULL")
    assert f"job {labelled.id}: it is not what the ledger says was submitted" in faults[0]


def test_starting_over_leaves_no_labels(served: LocalControlPlane) -> None:
    """The next job that has an old one's number is not found by that one's labels."""
    with nodus.Client(served.api_key, base_url=served.base_url) as client:
        client.run(image="a/b", labels=LABELS)
        start_over(served.plane.database)
        client.run(image="a/b")

        assert client.list(labels={"team": None}) == []
    assert verify(served.plane.database).is_sound
