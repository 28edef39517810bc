"""Which waiting jobs come next where there is room for some."""

from __future__ import annotations

from nodus_ledger.jobs.capacity import Capacity, InUse, Waiting, choose

MACHINE = Capacity(gpus=8, at_once=3)


def chosen(*waiting: tuple[int, str, int], in_use: dict[str, InUse] | None = None, limit: int = 64) -> list[int]:
    return [job.seq for job in choose([Waiting(*job) for job in waiting], in_use or {}, MACHINE, limit)]


def test_the_oldest_come_first_as_far_as_there_is_room() -> None:
    """Whatever order they are found in."""
    assert chosen((3, "a", 1), (1, "a", 1), (4, "a", 1), (2, "b", 1)) == [1, 2, 3]


def test_no_more_gpus_of_a_model_are_given_than_there_are() -> None:
    """Those of open attempts are counted."""
    assert chosen((1, "a", 4), (2, "a", 4), (3, "a", 1)) == [1, 2]
    assert chosen((1, "a", 2), (2, "a", 1), in_use={"a": InUse(gpus=6, jobs=1)}) == [1]


def test_a_job_of_many_gpus_is_not_passed_by_smaller_ones() -> None:
    """They would take every GPU that comes free, one by one; those of another model go on."""
    assert chosen((1, "a", 8), (2, "a", 1), (3, "b", 1), in_use={"a": InUse(gpus=1, jobs=1)}) == [3]


def test_no_more_jobs_are_open_than_the_machine_takes() -> None:
    """Over all models, and however many are asked for."""
    full = {"a": InUse(gpus=1, jobs=2), "b": InUse(gpus=1, jobs=1)}

    assert chosen((1, "a", 1), in_use=full) == []
    assert chosen((1, "a", 1), in_use={"b": InUse(gpus=9, jobs=5)}) == []
    assert chosen((1, "a", 1), (2, "a", 1), limit=1) == [1]


def test_a_model_may_have_a_number_of_its_own() -> None:
    """Each is counted by itself; a job that needs more than there are of its model comes at once, and ends."""
    machine = Capacity(gpus=8, at_once=9, by_model={"a": 2})
    waiting = [Waiting(1, "a", 1), Waiting(2, "a", 3), Waiting(3, "a", 2), Waiting(4, "b", 8), Waiting(5, "a", 1)]

    assert [job.seq for job in choose(waiting, {}, machine, 64)] == [1, 2, 4]
    assert [job.seq for job in choose(waiting, {"a": InUse(gpus=2, jobs=1)}, machine, 64)] == [2, 4]
