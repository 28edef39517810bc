"""How far the fetch of an image is, from what engines say line by line."""

from __future__ import annotations

from nodus_control.suppliers.docker.images import Progress


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
