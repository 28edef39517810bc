"""What the process driver keeps of attempts: whose they are, which are there, and what stays when one is forgotten."""

from __future__ import annotations

import os
import pathlib
import uuid
from dataclasses import replace

import pytest
from patience import eventually
from process.conftest import SECRET, RealJob, RealJobs

from nodus_control.runner import attempt_files
from nodus_control.suppliers.process.driver import ProcessDriver
from nodus_control.suppliers.process.keeping import AttemptOwner, engine_identity, read_machine_id
from nodus_control.suppliers.process.options import ProcessOptions
from nodus_control.suppliers.protocol import EngineUnavailable, Found, PlacementState


def make_driver(jobs: RealJobs, owner: AttemptOwner | None = None, secret: bytes = SECRET) -> ProcessDriver:
    """Make a driver on the directory of these jobs."""
    return ProcessDriver(jobs.state_dir, secret=secret, owner=owner, grace_seconds=0.3, linger_seconds=0.2)


def names_of(found: list[Found]) -> set[tuple[str, int]]:
    """Whose attempts were found."""
    return {(each.job_id, each.attempt) for each in found}


def test_an_engine_is_a_machine_and_a_directory(jobs: RealJobs, tmp_path: pathlib.Path) -> None:
    """Every driver on them gives the same name, and another directory or machine has another."""
    name = jobs.driver.identity()
    key = attempt_files.attempt_key(SECRET, "", 0)

    assert {make_driver(jobs).identity() for _ in range(3)} == {name}
    assert ProcessDriver(tmp_path / "other", secret=SECRET).identity() != name
    assert engine_identity(str(jobs.state_dir), key, lambda: "another machine") != name
    assert engine_identity(str(jobs.state_dir), key, lambda: "") == f"unnamed:{name.rpartition(':')[2]}"


def test_the_name_of_an_engine_does_not_give_the_machine_away(jobs: RealJobs) -> None:
    """A machine's id is confidential: whoever knows it can compute others from it."""
    name = jobs.driver.identity()
    machine_id = read_machine_id()

    assert not machine_id or machine_id not in name


def test_the_directory_of_another_database_is_refused(jobs: RealJobs) -> None:
    """Its attempts could not be told from forgeries."""
    jobs.driver.identity()

    with pytest.raises(EngineUnavailable, match="another database's"):
        make_driver(jobs, secret=b"another").identity()


def test_a_damaged_record_is_never_replaced(jobs: RealJobs) -> None:
    """A new name would pass for a new engine."""
    jobs.driver.identity()
    (record,) = [path for path in jobs.state_dir.iterdir() if path.is_file()]
    record.write_text("{}")

    with pytest.raises(EngineUnavailable):
        jobs.driver.identity()
    assert record.read_text() == "{}"


def test_attempts_are_listed_with_their_owner(jobs: RealJobs) -> None:
    """Those that run and those that have ended, under the life of the database that began them."""
    first, second = make_driver(jobs, AttemptOwner("db", "one")), make_driver(jobs, AttemptOwner("db", "two"))
    ended = jobs.start_shell("true", driver=first)
    ended.finish()
    running = jobs.start_shell("echo ready; sleep 600", driver=second).until_printed(b"ready")
    found = {each.job_id: each for each in first.list_placements()}

    assert first.list_placements() == second.list_placements()
    assert set(found) == {ended.placement.job_id, running.placement.job_id}
    assert found[ended.placement.job_id].incarnation == "one"
    assert found[running.placement.job_id].incarnation == "two"
    assert {each.database_id for each in found.values()} == {"db"}
    eventually(lambda: {each.job_id: each.is_running for each in first.list_placements()} == is_running(ended, running))
    for job in (ended, running):
        assert abs(found[job.placement.job_id].created_at - job.placement.placed_at) < 300


def is_running(ended: RealJob, running: RealJob) -> dict[str, bool]:
    """What is to be found of the two."""
    return {ended.placement.job_id: False, running.placement.job_id: True}


def test_attempts_from_before_owners_were_recorded_are_of_no_life(jobs: RealJobs) -> None:
    """They are this database's, since its directory is; a sweep deals with those that it knows, and names the rest."""
    job = jobs.start_shell("true")
    job.finish()
    (job.directory / "owner.json").unlink()

    (found,) = make_driver(jobs, AttemptOwner("db", "two")).list_placements()
    assert (found.database_id, found.incarnation) == ("db", "")


def test_strange_names_beside_the_attempts_are_passed_over(jobs: RealJobs) -> None:
    """Whatever a program or a person put there."""
    job = jobs.start_shell("true")
    job.finish()
    jobs.driver.identity()
    for name in ("notes", f"{uuid.uuid4()}/x", f"{uuid.uuid4()}/²", f"{uuid.uuid4()}/1"):
        (jobs.state_dir / name).mkdir(parents=True)
    (jobs.state_dir / "file").touch()
    (jobs.state_dir / "loop").symlink_to(jobs.state_dir)

    assert names_of(list(jobs.driver.list_placements())) == {(job.placement.job_id, 1)}


def test_what_is_forgotten_keeps_its_output_and_never_runs_again(jobs: RealJobs) -> None:
    """The records that make a repetition harmless stay with it."""
    job = jobs.start_shell(f"echo said; echo x >> {jobs.scratch}/runs")
    report = job.finish()
    job.until_removed()
    (job.directory / "work").mkdir()
    (job.directory / "tmp").mkdir()
    for _ in range(2):
        jobs.driver.forget(job.placement)
    job.submit()

    assert jobs.driver.list_placements() == []
    assert sorted(os.listdir(job.directory)) == [
        "claim.json",
        "forgotten",
        "output.log",
        "owner.json",
        "result.json",
    ]
    assert job.output() == b"said\n"
    assert replace(job.poll(), next_poll_at=None) == replace(report, next_poll_at=None)
    assert (jobs.scratch / "runs").read_text() == "x\n"


def test_what_runs_is_not_forgotten(jobs: RealJobs) -> None:
    """Nor is anything of it removed."""
    job = jobs.start_shell("echo ready; sleep 600").until_printed(b"ready")
    jobs.driver.forget(job.placement)

    assert names_of(list(jobs.driver.list_placements())) == {(job.placement.job_id, 1)}
    assert job.poll().state is PlacementState.RUNNING
    assert (job.directory / "work").is_dir()


def test_what_never_was_is_forgotten_in_silence(jobs: RealJobs) -> None:
    """Whoever forgets may ask twice, also after everything is gone."""
    job = jobs.make(("true",))
    jobs.driver.forget(job.placement)

    assert not job.directory.exists()


def test_a_worker_that_lost_its_claim_starts_nothing(jobs: RealJobs) -> None:
    """It is told so before it could look at the placement: looking withdraws one that nobody has."""
    job = jobs.make(("touch", str(jobs.scratch / "ran")))

    with pytest.raises(EngineUnavailable) as raised:
        jobs.driver.submit(job.placement, job.workload, job.placement.placed_at, holds=lambda: False)
    assert raised.value.never_sent
    assert not (jobs.scratch / "ran").exists()
    assert job.submit().finish().state is PlacementState.COMPLETED
    assert (jobs.scratch / "ran").exists()


def test_what_was_forgotten_long_ago_is_removed(jobs: RealJobs) -> None:
    """With its output, once an hour at most; what nobody has forgotten stays, however old it is."""
    wall = [1e9]
    driver = ProcessDriver(
        jobs.state_dir, secret=SECRET, options=ProcessOptions(keep_days=30), wall_clock=lambda: wall[0]
    )
    old, kept, unforgotten = (jobs.start_shell("echo said") for _ in range(3))
    for job in (old, kept, unforgotten):
        job.finish()
        job.until_removed()
    jobs.driver.forget(old.placement)
    jobs.driver.forget(kept.placement)
    for job, at in ((old, 1e9 - 31 * 86_400), (kept, 1e9 - 29 * 86_400)):
        os.utime(job.directory / "forgotten", (at, at))
    driver.forget(kept.placement)

    assert not old.directory.parent.exists()
    assert (kept.output(), unforgotten.output()) == (b"said\n", b"said\n")
    wall[0] += 86_400 * 365
    driver.forget(kept.placement)
    assert kept.output() == b"said\n"


def test_an_attempt_that_says_of_itself_that_it_is_forgotten_is_not(jobs: RealJobs) -> None:
    """A program that could hide from the list would outlive a sweep, and one that removed itself its bill."""
    job = jobs.start_shell("echo ready; sleep 600").until_printed(b"ready")
    (job.directory / "forgotten").write_text("{}")
    os.utime(job.directory / "forgotten", (0, 0))
    jobs.driver.forget(jobs.make(("true",)).placement)

    assert names_of(list(jobs.driver.list_placements())) == {(job.placement.job_id, 1)}
    assert job.directory.exists()


@pytest.mark.parametrize("days", [-1.0, float("nan")])
def test_output_is_kept_for_a_number_of_days(days: float) -> None:
    """What is no such number is refused at the start."""
    with pytest.raises(ValueError, match="a number of days, 0 or more"):
        ProcessOptions(keep_days=days)
