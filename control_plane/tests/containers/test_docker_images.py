"""How far the fetch of an image is, from what engines say line by line."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from patience import eventually
from scarcity import no_thread

from nodus_control.suppliers.docker.engine import Engine
from nodus_control.suppliers.docker.images import FORGET_SECONDS, RETRY_SECONDS, Images, Progress, Pull
from nodus_control.suppliers.docker.references import IMAGE_PULL_FAILED, WHAT_IS_WRONG, parse_reference
from nodus_control.suppliers.docker.troubles import Troubles
from nodus_control.suppliers.protocol import EngineUnavailable
from nodus_core.suppliers_file import DockerOptions, UnixEndpoint


def has_ended(pull: Pull) -> bool:
    """Say whether a fetch is over."""
    return pull.ended_at is not None


def test_layers_are_added_up() -> None:
    """Docker says how much of each there is; a layer that is being unpacked is all there."""
    progress = Progress()
    nothing = str(progress)
    lines: list[dict[str, object]] = [
        {"status": "Downloading", "id": "a", "progressDetail": {"current": 1_000_000, "total": 4_000_000}},
        {"status": "Downloading", "id": "b", "progressDetail": {"current": 2_000_000, "total": 6_000_000}},
        {"status": "Extracting", "id": "a", "progressDetail": {"current": 1, "total": 9}},
    ]
    for line in lines:
        assert progress.note(line)

    assert nothing == "fetching the image"
    assert str(progress) == "fetching the image: 6 of 10 MB so far"


def test_a_line_that_is_repeated_is_no_progress() -> None:
    """Podman says nothing of sizes, and some engines say the same while they wait."""
    progress = Progress()

    assert [progress.note({"status": "Waiting", "id": "a"}) for _ in range(3)] == [True, False, False]


def test_only_what_is_said_of_the_image_is_progress() -> None:
    """And of that what was not said before, by an earlier fetch either: one that fails again and again gets nowhere."""
    progress = Progress()
    fetch: list[dict[str, object]] = [
        {"status": "Pulling from acme/train", "id": "1"},
        {"status": "Downloading", "id": "a", "progressDetail": {"current": 1_000_000, "total": 4_000_000}},
        {"status": "Retrying in 5 seconds", "id": "a"},
        {"status": "Downloading", "id": "a", "progressDetail": {"current": 2_000_000, "total": 4_000_000}},
    ]
    first = [progress.note(line) for line in fetch]
    second = [progress.note(line) for line in fetch]
    further = progress.note({**fetch[1], "progressDetail": {"current": 2_000_001, "total": 4_000_000}})

    assert first[1::2] == [True, True]
    assert second == [False] * 4
    assert further
    assert not progress.note({"status": "still trying"})


def test_a_fetch_that_always_fails_makes_no_progress(tmp_path: Path) -> None:
    """However often it is begun again, and whoever asks for other images meanwhile; it says why it failed."""
    clock = [100.0]
    engine = Engine(DockerOptions(UnixEndpoint(str(tmp_path / "none"))))
    images = Images(engine, Troubles("lab"), {}, clock=lambda: clock[0])
    image, other = parse_reference("ghcr.io/acme/train:1"), parse_reference("ghcr.io/acme/other:1")
    details, waited = [], 0.0
    for _ in range(4):
        pull = images.pull(image, "job")
        details.append(pull.detail)
        eventually(partial(has_ended, pull))
        waited = images.seconds_since_progress(pull)
        clock[0] += RETRY_SECONDS
        images.pull(other, "other")
    clock[0] += FORGET_SECONDS
    images.pull(other, "other")
    forgotten = images.seconds_since_progress(images.pull(image, "job"))
    engine.close()
    images.close()

    assert waited == 3 * RETRY_SECONDS
    assert details == ["fetching the image", *[WHAT_IS_WRONG[IMAGE_PULL_FAILED]] * 3]
    assert forgotten == 0


def test_a_fetch_that_failed_is_begun_again_after_a_pause(tmp_path: Path) -> None:
    """And not by everybody who asks meanwhile."""
    clock = [100.0]
    engine = Engine(DockerOptions(UnixEndpoint(str(tmp_path / "none"))))
    images = Images(engine, Troubles("lab"), {}, clock=lambda: clock[0])
    image = parse_reference("ghcr.io/acme/train:1")
    first = images.pull(image, "job")
    eventually(lambda: first.ended_at is not None)
    clock[0] += RETRY_SECONDS - 1
    same = images.pull(image, "job")
    clock[0] += 2
    second = images.pull(image, "job")
    eventually(lambda: second.ended_at is not None)
    engine.close()
    images.close()

    assert (first.code, second.code) == (IMAGE_PULL_FAILED, IMAGE_PULL_FAILED)
    assert same is first
    assert second is not first


def test_a_fetch_that_failed_before_somebody_asked_says_nothing_to_them(tmp_path: Path) -> None:
    """Nor one that was under way: the image may have come since it began. All who wait share the next one."""
    clock = [100.0]
    engine = Engine(DockerOptions(UnixEndpoint(str(tmp_path / "none"))))
    images = Images(engine, Troubles("lab"), {}, clock=lambda: clock[0])
    image = parse_reference("ghcr.io/acme/train:1")
    first = images.pull(image, "first")
    eventually(partial(has_ended, first))
    clock[0] += 1
    second = images.pull(image, "second")
    eventually(partial(has_ended, second))
    clock[0] += 1
    shared = [images.pull(image, asker) for asker in ("first", "second")]
    third = images.pull(image, "third")
    engine.close()
    images.close()

    assert second is not first
    assert shared == [second, second]
    assert third is not second


def test_a_fetch_for_which_there_is_no_thread_has_not_begun(tmp_path: Path) -> None:
    """Whoever asks next begins it."""
    engine = Engine(DockerOptions(UnixEndpoint(str(tmp_path / "none"))))
    images = Images(engine, Troubles("lab"), {})
    image = parse_reference("ghcr.io/acme/train:1")
    with no_thread("nodus-docker-pull"), pytest.raises(EngineUnavailable) as unavailable:
        images.pull(image, "job")
    pull = images.pull(image, "job")
    eventually(partial(has_ended, pull))
    engine.close()
    images.close()

    assert unavailable.value.never_sent
    assert pull.code == IMAGE_PULL_FAILED
