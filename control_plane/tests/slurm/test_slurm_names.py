"""An attempt's name on a cluster says whose it is, and nothing else has such a name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus_control.suppliers.protocol import Placement
from nodus_control.suppliers.slurm.names import name_of, parse_name


def placement(job_id: str, attempt: int = 1) -> Placement:
    return Placement(job_id, attempt, "cluster", "here", 0.0)


@given(
    st.from_regex(r"[A-Za-z0-9_]{1,20}", fullmatch=True),
    st.from_regex(r"[a-z0-9_]{1,10}(-[a-z0-9_]{1,10}){0,3}", fullmatch=True),
    st.integers(1, 10**6),
)
def test_a_name_is_read_back(database: str, job_id: str, attempt: int) -> None:
    """Whatever hyphens a job's id has."""
    assert parse_name(name_of(database, placement(job_id, attempt))) == (database, job_id, attempt)


@pytest.mark.parametrize(
    "name",
    ["", "nodus", "nodus-db", "nodus-db-job", "nodus-db-job-0", "nodus-db-job-x", "other-db-job-1", "nodus-d|b-j-1"],
)
def test_other_names_are_not_ours(name: str) -> None:
    """A job of the cluster's other users may be called anything."""
    assert parse_name(name) is None


@pytest.mark.parametrize(
    ("database", "job_id"), [("a b", "job"), ("a-b", "job"), ("db", "../job"), ("db", "a/b"), ("", "j")]
)
def test_what_could_leave_a_folder_is_no_name(database: str, job_id: str) -> None:
    """Nor what could be taken for an option or a pattern."""
    with pytest.raises(ValueError, match="cannot be part of a name"):
        name_of(database, placement(job_id))
