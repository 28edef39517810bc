"""What an engine has dropped of an output is not passed over in silence, and nothing behind it is lost."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from patience import PATIENCE_SECONDS, eventually
from scarcity import NO_THREAD, no_thread

from nodus_control.suppliers.docker import container as containers
from nodus_control.suppliers.docker import driver as drivers
from nodus_control.suppliers.docker import followers as followers_of
from nodus_control.suppliers.docker.engine import Answer, Engine
from nodus_control.suppliers.docker.followers import LONGEST_REST_SECONDS, SHORTEST_REST_SECONDS, Followers
from nodus_control.suppliers.docker.output import DROPPED_MARKER, StoredOutput
from nodus_control.suppliers.docker.troubles import Troubles
from nodus_control.suppliers.protocol import EngineUnavailable, PlacementState
from nodus_core.suppliers_file import DockerOptions, UnixEndpoint

if TYPE_CHECKING:
    from containers.conftest import ContainerJobs

SAYS_MORE_WHEN_TOLD = """seq 1000
trap "trap '' USR1; seq 1000; exit" USR1
while true; do sleep 0.1; done
"""


def framed(line: bytes) -> bytes:
    return b"\x01\0\0\0" + len(line).to_bytes(4, "big") + line


class Said:
    """An answer that comes at once."""

    def __init__(self, status: int, content: bytes) -> None:
        self.status = status
        self._content = content

    def parts(self, size: int | None) -> Iterator[bytes]:
        yield self._content


class FakeEngine(Engine):
    """Holds lines of one container, which runs until it is told otherwise."""

    def __init__(self) -> None:
        super().__init__(DockerOptions(UnixEndpoint("/none")))
        self.lines: dict[str, bytes] = {}
        self.is_running = True
        self.is_broken = False
        self.statuses: list[int] = []
        self.questions = 0
        self.copies_for: Callable[[], None] = lambda: None

    def ask(self, method: str, path: str, **more: Any) -> Answer:
        described = b"""{"Id": "c", "Name": "/c", "Created": "2026-01-01T00:00:00Z", "Config": {}, "HostConfig": {},
            "State": {"Status": "%b", "StartedAt": "2026-01-01T00:00:00Z", "FinishedAt": "2026-01-01T00:00:00Z",
            "ExitCode": 0}}"""
        return Answer(200, described % (b"running" if self.is_running else b"exited"), 0.0)

    @contextlib.contextmanager
    def stream(self, method: str, path: str, *, params: Mapping[str, str], **more: Any) -> Iterator[Any]:
        stamped = params.get("timestamps") == "true"
        lines = [(at.encode() + b" " if stamped else b"") + line for at, line in self.lines.items()]
        self.questions += 1
        self.copies_for()
        broken = b"\x03" + framed(b"unexpected EOF")[1:] if self.is_broken else b""
        yield Said(self.statuses.pop(0) if self.statuses else 200, b"".join(map(framed, lines)) + broken)


def followed(engine: FakeEngine, output: StoredOutput, *, can_follow: bool = True) -> bytes:
    """Copy what there is until the container has ended; return all that is stored."""
    followers = Followers(engine, Troubles("lab"), lambda: can_follow)
    followers.ensure("c", output)
    eventually(output.is_complete)
    followers.close()
    return output.read(0, 1 << 20)


def copied(engine: FakeEngine, output: StoredOutput, folder: Path, *, size: int) -> None:
    """Copy while the container runs, until so much is stored, and with what it begins is on record."""
    followers = Followers(engine, Troubles("lab"), lambda: True)
    followers.ensure("c", output)
    eventually(lambda: output.size == size and any(folder.glob("beginning-*")))
    followers.close()


@pytest.mark.parametrize("can_follow", [True, False])
def test_an_output_is_copied_once_however_often_it_is_read(tmp_path: Path, *, can_follow: bool) -> None:
    """As long as the engine has all of it."""
    engine, output = FakeEngine(), StoredOutput(tmp_path)
    engine.lines = {"1": b"one\n", "2": b"two\n"}
    copied(engine, output, tmp_path, size=8)
    engine.lines["3"] = b"three\n"
    engine.is_running = False

    assert followed(engine, output, can_follow=can_follow) == b"one\ntwo\nthree\n"


def test_what_was_dropped_is_marked(tmp_path: Path) -> None:
    """Where the engine's copy begins with another line than before, its bytes are others, too."""
    engine, output = FakeEngine(), StoredOutput(tmp_path)
    engine.lines = {"1": b"one\n", "2": b"two\n"}
    copied(engine, output, tmp_path, size=8)
    engine.lines = {"8": b"two\n", "9": b"end\n"}
    engine.is_running = False
    found = followed(engine, output)

    assert found == b"one\ntwo\n" + DROPPED_MARKER + b"two\nend\n"


def test_what_comes_behind_what_was_dropped_is_copied_once(tmp_path: Path) -> None:
    """Also by another follower."""
    engine, output = FakeEngine(), StoredOutput(tmp_path)
    engine.lines = {"1": b"one\n"}
    copied(engine, output, tmp_path, size=4)
    engine.lines = {"8": b"eight\n"}
    copied(engine, output, tmp_path, size=4 + len(DROPPED_MARKER) + 6)
    engine.lines["9"] = b"nine\n"
    engine.is_running = False

    assert followed(engine, output) == b"one\n" + DROPPED_MARKER + b"eight\nnine\n"


@pytest.mark.parametrize("can_follow", [True, False])
def test_what_comes_before_what_the_engine_cannot_read_is_kept(tmp_path: Path, *, can_follow: bool) -> None:
    """However often it is asked: a log that is damaged gives no more than that."""
    engine, output = FakeEngine(), StoredOutput(tmp_path)
    engine.lines = {"1": b"one\n", "2": b"two\n"}
    engine.is_broken, engine.is_running = True, False
    followers = Followers(engine, Troubles("lab"), lambda: can_follow)
    followers.ensure("c", output)
    eventually(lambda: not followers._copies)
    followers.close()

    assert output.read(0, 1 << 20) == b"one\ntwo\n"
    assert not output.is_complete()


def test_an_output_that_cannot_be_copied_is_tried_less_and_less_often(tmp_path: Path) -> None:
    """Each attempt makes a file; and what broke off for once is taken up soon."""
    engine, output, now = FakeEngine(), StoredOutput(tmp_path), [0.0]
    engine.lines, engine.is_broken, engine.is_running = {"1": b"one\n"}, True, False
    followers = Followers(engine, Troubles("lab"), lambda: True, lambda: now[0])
    tried_at: list[float] = []
    for _ in range(240):
        before = len(list(tmp_path.glob("output-*")))
        followers.ensure("c", output)
        eventually(lambda: not followers._copies)
        if len(list(tmp_path.glob("output-*"))) > before:
            tried_at.append(now[0])
        now[0] += SHORTEST_REST_SECONDS / 2
    engine.is_broken = False
    now[0] += LONGEST_REST_SECONDS
    followers.ensure("c", output)
    eventually(output.is_complete)
    followers.close()

    rests = [after - before for before, after in pairwise(tried_at)]
    assert rests == [1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_REST_SECONDS, LONGEST_REST_SECONDS]
    assert output.read(0, 1 << 20) == b"one\n"


def test_an_output_that_was_copied_for_long_rests_shortly(tmp_path: Path) -> None:
    """However often its engine was restarted before."""
    engine, output, now = FakeEngine(), StoredOutput(tmp_path), [0.0]
    engine.is_broken, engine.is_running = True, False
    followers = Followers(engine, Troubles("lab"), lambda: True, lambda: now[0])

    def broke_off(rested: float) -> bool:
        now[0] += rested
        before = engine.questions
        followers.ensure("c", output)
        eventually(lambda: not followers._copies)
        return engine.questions > before

    begun = [broke_off(rested) for rested in (0.0, 1.0, 1.0, 1.0)]
    engine.copies_for = lambda: now.__setitem__(0, now[0] + LONGEST_REST_SECONDS)
    long = broke_off(LONGEST_REST_SECONDS)
    engine.copies_for = lambda: None
    after = broke_off(SHORTEST_REST_SECONDS)
    followers.close()

    assert begun == [True, True, False, True]
    assert (long, after) == (True, True)


def test_an_engine_that_fails_holds_no_less_than_before(tmp_path: Path) -> None:
    """An error is no sign that it has dropped what it held, which would all be copied a second time."""
    engine, output = FakeEngine(), StoredOutput(tmp_path)
    engine.lines = {"1": b"one\n"}
    copied(engine, output, tmp_path, size=4)
    engine.is_running, engine.statuses = False, [500]
    followers = Followers(engine, Troubles("lab"), lambda: True)
    followers.ensure("c", output)
    eventually(lambda: not followers._copies)
    followers.close()

    assert not output.is_complete()
    assert followed(engine, output) == b"one\n"


def test_an_engine_that_keeps_little_says_so_in_the_output(
    jobs: ContainerJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real one drops everything before, and the output has what was stored, a marker, and the end."""
    monkeypatch.setattr(containers, "OUTPUT_KEPT_BY_ENGINE", "32k")
    first = jobs.new_driver()
    job = jobs.shell("echo first; sleep 5; seq 20000; echo last", driver=first).submit().until_printed(b"first")
    folder = jobs.folder / job.placement.job_id / "1"
    eventually(lambda: any(folder.glob("beginning-*")))
    first.close()
    eventually(lambda: jobs.containers(job)[0]["State"] == "exited")
    job.driver = jobs.driver
    report = job.finish()
    printed = job.output()

    assert report.state is PlacementState.COMPLETED
    assert printed.startswith(b"first\n")
    assert DROPPED_MARKER in printed
    assert printed.endswith(b"last\n")


@pytest.mark.parametrize("which", ["nodus-docker-output", "nodus-docker-beat"])
def test_an_output_for_which_there_is_no_thread_is_copied_by_a_later_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, which: str
) -> None:
    """After a rest, at once then: nobody believes that it is being copied."""
    engine, output, now = FakeEngine(), StoredOutput(tmp_path), [0.0]
    engine.lines, engine.is_running = {"1": b"one\n"}, False
    followers = Followers(engine, Troubles("lab"), lambda: True, lambda: now[0])
    with no_thread(which):
        followers.ensure("c", output)
    followers.ensure("c", output)
    asked_before = engine.questions
    now[0] += SHORTEST_REST_SECONDS
    followers.ensure("c", output)
    eventually(output.is_complete)
    followers.close()

    assert asked_before == 0
    assert output.read(0, 1 << 20) == b"one\n"
    assert NO_THREAD in caplog.text


def test_the_rest_of_an_output_is_copied_at_once_when_its_end_is_seen(tmp_path: Path) -> None:
    """However often it could not be copied before."""
    engine, output = FakeEngine(), StoredOutput(tmp_path)
    engine.lines, engine.is_broken = {"1": b"one\n"}, True
    followers = Followers(engine, Troubles("lab"), lambda: True, lambda: 0.0)
    followers.ensure("c", output)
    eventually(lambda: not followers._copies)
    engine.lines["2"] = b"two\n"
    engine.is_broken, engine.is_running = False, False
    followers.ensure("c", output)
    before = output.read(0, 1 << 20)
    followers.has_ended("c")
    followers.ensure("c", output)
    eventually(output.is_complete)
    followers.close()

    assert before == b"one\n"
    assert output.read(0, 1 << 20) == b"one\ntwo\n"


@pytest.mark.parametrize("here", [True, False])
def test_an_output_that_is_read_seldom_is_read_when_its_program_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, here: bool
) -> None:
    """At once where the end is seen here, and soon where another worker sees it: not when it would be read again."""
    engine, output = FakeEngine(), StoredOutput(tmp_path)
    monkeypatch.setattr("nodus_control.suppliers.docker.followers._READ_SECONDS", 100 * PATIENCE_SECONDS)
    if here:
        monkeypatch.setattr("nodus_control.suppliers.docker.followers._LOOK_SECONDS", 100 * PATIENCE_SECONDS)
    engine.lines = {"1": b"one\n", "2": b"two\n"}
    followers = Followers(engine, Troubles("lab"), lambda: False)
    followers.ensure("c", output)
    eventually(lambda: output.size == 4)  # the last line may be half written
    engine.lines["3"] = b"three\n"
    engine.is_running = False
    if here:
        followers.has_ended("c")
    eventually(output.is_complete)
    followers.close()

    assert output.read(0, 1 << 20) == b"one\ntwo\nthree\n"


def test_a_program_that_has_ended_is_reported_with_all_that_it_printed(
    jobs: ContainerJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although its output could not be copied while it ran, and would have been left alone for long."""
    monkeypatch.setattr(followers_of, "SHORTEST_REST_SECONDS", 100 * PATIENCE_SECONDS)
    monkeypatch.setattr(followers_of, "LONGEST_REST_SECONDS", 100 * PATIENCE_SECONDS)
    monkeypatch.setattr(drivers, "OUTPUT_SECONDS", 100 * PATIENCE_SECONDS)
    jobs.run("true")  # from now on the image is there
    driver = jobs.new_driver()
    with monkeypatch.context() as broken:

        def refuse(*_: object, **__: object) -> NoReturn:
            raise EngineUnavailable("it breaks off")

        broken.setattr(driver.engine, "stream", refuse)
        job = jobs.shell(SAYS_MORE_WHEN_TOLD, driver=driver).submit()
        eventually(lambda: job.poll() is not None and bool(driver._followers._rests))
    (container,) = jobs.containers(job)

    def is_over() -> bool:
        # Until the program listens, the signal means nothing to it.
        driver.engine.ask("POST", f"/containers/{container['Id']}/kill", params={"signal": "SIGUSR1"})
        return bool(jobs.containers(job)[0]["State"] == "exited")

    eventually(is_over)
    report = job.finish()

    assert report.state is PlacementState.COMPLETED
    assert job.output() == 2 * b"".join(b"%d\n" % number for number in range(1, 1001))
