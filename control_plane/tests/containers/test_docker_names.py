"""Containers are found again by names and labels."""

from __future__ import annotations

import pytest

from nodus_control.suppliers.docker.names import ContainerOwner, labels_of, may_share, names_of, owner_of
from nodus_control.suppliers.protocol import Placement

OWNER = ContainerOwner("db", "2", "0198-job", 3, "lab", (0, 4))


def placement(job_id: str = "0198-job") -> Placement:
    """An attempt."""
    return Placement(job_id, 3, "lab", "here", 0.0)


def test_a_name_says_which_attempt_of_which_control_plane() -> None:
    """Before it is claimed, and after."""
    names = names_of("db", placement())

    assert (names.made, names.claimed) == ("nodus-db-0198-job-3", "nodus-db-0198-job-3-go")


@pytest.mark.parametrize("job_id", ["", "..", "a/b", "-rf", "a b", "ä", "x" * 129])
def test_what_could_lead_elsewhere_is_no_part_of_a_name(job_id: str) -> None:
    """Neither in a path of the engine nor of this machine."""
    with pytest.raises(ValueError, match="cannot be part of the name"):
        names_of("db", placement(job_id))


@pytest.mark.parametrize("indices", [(0, 4), (), None])
def test_labels_are_read_as_they_were_written(indices: tuple[int, ...] | None) -> None:
    """The GPUs too: none is not the same as any."""
    owner = ContainerOwner("db", "2", "0198-job", 3, "lab", indices)

    assert owner_of({"other": "label", **labels_of(owner)}) == owner


@pytest.mark.parametrize("spoiled", [{"nodus.attempt": "x"}, {"nodus.gpu-indices": "a"}])
def test_labels_that_are_not_whole_are_not_ours(spoiled: dict[str, str]) -> None:
    """Whoever made them."""
    labels = labels_of(OWNER)

    assert owner_of({**labels, **spoiled}) is None
    assert owner_of({name: value for name, value in labels.items() if name != "nodus.job"}) is None


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [((0, 1), (2,), True), ((0, 1), (1, 2), False), (None, (2,), False), ((0,), None, False), (None, None, False)],
)
def test_an_engine_is_shared_only_where_no_gpu_is(
    ours: tuple[int, ...] | None, theirs: tuple[int, ...] | None, *, expected: bool
) -> None:
    """And both say which they use."""
    assert may_share(ours, theirs) is expected
