"""The disk of the records goes away: nothing is begun, taken back or taken for removed, and nothing runs twice."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from patience import eventually
from process.conftest import SECRET, RealJobs

from nodus_control.suppliers.process.disk import Disk, Place
from nodus_control.suppliers.process.driver import ProcessDriver
from nodus_control.suppliers.protocol import EngineUnavailable, PlacementState

HERE, OURS = Place(7, 1), Place(9, 2)
FOLDER = "/mnt/disk/state"


class Names:
    """What is to be found under which name."""

    def __init__(self) -> None:
        self.there: dict[str, Place | OSError] = {
            "/": HERE,
            "/mnt": Place(7, 5),
            "/mnt/disk": OURS,
            FOLDER: Place(9, 3),
        }

    def look(self, path: str) -> Place | None:
        found = self.there.get(path)
        if isinstance(found, OSError):
            raise found
        return found


def is_there(disk: Disk, *, itself: bool, is_ours: bool = False) -> bool:
    try:
        disk.require(lambda: is_ours, itself=itself)
    except EngineUnavailable:
        return False
    return True


@pytest.mark.parametrize(
    ("change", "is_ours", "itself", "otherwise"),
    [
        ({}, False, True, True),
        ({FOLDER: None}, False, False, True),  # a job has removed it
        ({FOLDER: Place(9, 4)}, False, False, True),  # and made another
        ({FOLDER: None, "/mnt/disk": Place(7, 6)}, False, False, False),  # its disk is not mounted
        ({FOLDER: Place(7, 8), "/mnt/disk": Place(7, 6)}, False, False, False),  # and something was made below
        ({FOLDER: Place(11, 3), "/mnt/disk": Place(11, 2)}, True, True, True),  # mounted again, as another device
        ({FOLDER: Place(11, 3), "/mnt/disk": Place(11, 2)}, False, False, False),  # another disk
        ({FOLDER: OSError(5, "Input/output error")}, True, False, False),
        ({FOLDER: PermissionError(13, "Permission denied")}, True, False, True),  # a job has closed it
    ],
)
def test_a_disk_is_there_or_away(
    change: dict[str, Place | OSError | None], is_ours: bool, itself: bool, otherwise: bool
) -> None:
    """With the directory itself, or with what a job may have made of it."""
    names = Names()
    disk = Disk(FOLDER, names.look)
    for path, place in change.items():
        if place is None:
            del names.there[path]
        else:
            names.there[path] = place

    assert is_there(disk, itself=True, is_ours=is_ours) is itself
    assert is_there(disk, itself=False, is_ours=is_ours) is otherwise


def test_one_that_was_mounted_again_is_remembered_as_it_is_now() -> None:
    """Its mark is read once."""
    names = Names()
    disk = Disk(FOLDER, names.look)
    names.there.update({"/mnt/disk": Place(11, 2), FOLDER: Place(11, 3)})

    assert is_there(disk, itself=True, is_ours=True)
    assert is_there(disk, itself=True, is_ours=False)


@pytest.fixture
def mounted(tmp_path: pathlib.Path) -> Iterator[Callable[[bool], None]]:
    """Mounts a folder of another file system where the state directory is, or takes it away."""
    disk, state = tmp_path / "disk", tmp_path / "state"
    for each in (disk, state):
        each.mkdir(mode=0o700)
    made = subprocess.run(["mount", "-t", "tmpfs", "none", disk], capture_output=True, check=False)
    if not sys.platform.startswith("linux") or made.returncode != 0:
        pytest.skip("this user may mount no file system")
    (disk / "state").mkdir(mode=0o700)

    def mount(is_there: bool) -> None:
        words: list[str | pathlib.Path] = (
            ["mount", "--bind", disk / "state", state] if is_there else ["umount", "--lazy", state]
        )
        subprocess.run(words, check=True)

    mount(True)
    yield mount
    for path in (state, disk):
        subprocess.run(["umount", "--lazy", path], capture_output=True, check=False)


def test_a_program_ends_with_its_disk_and_is_known_when_that_is_back(
    tmp_path: pathlib.Path, mounted: Callable[[bool], None]
) -> None:
    """Nobody says meanwhile how it ended, and nobody begins it again in what is there instead."""
    jobs = RealJobs(tmp_path / "state")
    driver = ProcessDriver(
        jobs.state_dir, secret=SECRET, grace_seconds=0.3, linger_seconds=0.2, silent_seconds=2.0, lost_seconds=600.0
    )
    identity = driver.identity()
    count = jobs.scratch / "count"
    job = jobs.make(("sh", "-c", f"echo ran >> {count}; echo ready; sleep 600"), driver=driver).submit()
    job.until_printed(b"ready")
    accepted = replace(job.placement, is_accepted=True)
    gone_at = time.time()
    mounted(False)
    for call in (
        job.submit,
        job.poll,
        job.cancel,
        job.output,
        driver.identity,
        driver.list_placements,
        lambda: driver.poll(accepted, job.workload, time.time()),
        lambda: driver.forget(accepted),
    ):
        with pytest.raises(EngineUnavailable, match="is its disk mounted"):
            call()
    left = os.listdir(jobs.state_dir)
    eventually(lambda: job.processes() == [], lambda: "the program goes on without its disk")
    ended_at = time.time()
    mounted(True)
    job.submit()
    report = job.finish()
    with contextlib.suppress(EngineUnavailable):
        driver.forget(accepted)

    assert left == []
    assert report.state in (PlacementState.LOST, PlacementState.FAILED)
    assert report.finished_at is not None
    assert gone_at - 5.0 <= report.finished_at <= ended_at + 3.0
    assert count.read_text() == "ran\n"
    assert driver.identity() == identity
