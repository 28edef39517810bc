"""How far the fetch of an image is, from what engines say line by line."""

from __future__ import annotations

from pathlib import Path

from patience import eventually

from nodus_control.suppliers.docker.engine import Engine
from nodus_control.suppliers.docker.images import RETRY_SECONDS, Images, Progress
from nodus_control.suppliers.docker.references import IMAGE_PULL_FAILED, parse_reference
from nodus_core.suppliers_file import DockerOptions, UnixEndpoint


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


def test_a_fetch_that_failed_is_begun_again_after_a_pause(tmp_path: Path) -> None:
    """And not by everybody who asks meanwhile."""
    clock = [100.0]
    engine = Engine(DockerOptions(UnixEndpoint(str(tmp_path / "none"))))
    images = Images(engine, {}, clock=lambda: clock[0])
    image = parse_reference("ghcr.io/acme/train:1")
    first = images.pull(image)
    eventually(lambda: first.ended_at is not None)
    clock[0] += RETRY_SECONDS - 1
    same = images.pull(image)
    clock[0] += 2
    second = images.pull(image)
    eventually(lambda: second.ended_at is not None)
    engine.close()
    images.close()

    assert (first.code, second.code) == (IMAGE_PULL_FAILED, IMAGE_PULL_FAILED)
    assert same is first
    assert second is not first
