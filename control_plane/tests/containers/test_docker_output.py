"""An output is kept byte for byte, whoever copies it, and whoever took over from whom."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus_control.runner.output import limit_marker
from nodus_control.suppliers.docker.output import LEASE_SECONDS, Beginning, Fenced, Frames, StoredOutput, Writer
from nodus_control.suppliers.protocol import EngineUnavailable

_ROOM = 200 - len(limit_marker(200))


def framed(*parts: bytes) -> bytes:
    """What an engine sends."""
    return b"".join(
        bytes([1 + number % 2, 0, 0, 0]) + len(part).to_bytes(4, "big") + part for number, part in enumerate(parts)
    )


def begun(output: StoredOutput) -> Writer:
    """Begin a part, which must be possible."""
    writer = output.begin()
    assert writer is not None
    return writer


def dead(output: StoredOutput, folder: Path, number: int) -> None:
    """Let it seem long ago that a follower last showed that it lives."""
    path = folder / f"output-{number:06d}"
    then = path.stat().st_mtime - LEASE_SECONDS - 1
    os.utime(path, (then, then))


@given(st.lists(st.binary(max_size=40)), st.integers(1, 50))
def test_frames_are_taken_apart_however_they_come(parts: list[bytes], size: int) -> None:
    """Also where a read ends in the middle of a head."""
    frames = Frames()
    stream = framed(*parts)
    taken = b"".join(frames.feed(stream[at : at + size]) for at in range(0, len(stream), size))

    assert taken == b"".join(parts)
    assert frames.last_begins_at == sum(len(part) for part in parts[:-1])


@given(
    st.lists(st.sampled_from([b"", b"x", b"a" * 16_383, b"b" * 16_384, b"c" * 16_385, b"d" * 40_000])), st.booleans()
)
def test_a_line_break_that_the_engine_lost_is_put_back(lines: list[bytes], are_kept: bool) -> None:
    """Behind lines that were cut into frames; a newer engine keeps them, and then nothing is added."""
    parts = []
    for line in lines:
        whole, rest = divmod(len(line), 16_384)
        parts += [line[at * 16_384 : (at + 1) * 16_384] for at in range(whole)]
        parts.append(line[len(line) - rest :] + (b"\n" if are_kept or not whole else b""))
    frames = Frames(of_lines=True)
    taken = b"".join(frames.feed(framed(part)) for part in [*parts, b"end\n"])

    assert taken == b"".join(line + b"\n" for line in lines) + b"end\n"


def test_each_stream_has_lines_of_its_own() -> None:
    """A break is put back where its own stream goes on."""
    frames = Frames(of_lines=True)
    out, err = framed(b"o" * 16_384) + framed(b"o"), b"\x02" + framed(b"err\n")[1:]

    assert frames.feed(out + err + framed(b"more\n")) == b"o" * 16_385 + b"err\n" + b"\nmore\n"


@pytest.mark.parametrize("size", [3, 8, 100])
def test_what_the_engine_says_of_its_own_is_not_kept(size: int) -> None:
    """In a stream of its own it says that it cannot read on: no program printed that, but all that came before."""
    frames = Frames()
    stream = framed(b"printed") + b"\x03" + framed(b"Error grabbing logs: unexpected EOF")[1:]
    frames.require_whole()
    taken = b"".join(frames.feed(stream[at : at + size]) for at in range(0, len(stream), size))

    assert taken == b"printed"
    assert frames.feed(framed(b"more")) == b""
    with pytest.raises(EngineUnavailable, match="the rest"):
        frames.require_whole()


def test_an_output_is_read_from_anywhere(tmp_path: Path) -> None:
    """And is complete once somebody says so."""
    output = StoredOutput(tmp_path)
    writer = begun(output)
    writer.append(b"one ")
    writer.append(b"\xff\xfe two")
    before = output.is_complete()
    writer.complete()
    writer.close()

    assert (output.size, output.read(0, 100), output.read(4, 2), output.read(99, 5)) == (
        10,
        b"one \xff\xfe two",
        b"\xff\xfe",
        b"",
    )
    assert (before, output.is_complete(), output.begin()) == (False, True, None)


def test_what_was_never_begun_is_empty(tmp_path: Path) -> None:
    """And not complete."""
    output = StoredOutput(tmp_path / "none")

    assert (output.size, output.read(0, 10), output.is_complete()) == (0, b"", False)


def test_nobody_takes_over_from_a_follower_that_lives(tmp_path: Path) -> None:
    """From one that was closed at once; from one that is silent after its lease."""
    output = StoredOutput(tmp_path)
    first = begun(output)
    refused = output.begin()
    dead(output, tmp_path, 1)
    first.beat()
    refused_again = output.begin()
    dead(output, tmp_path, 1)
    second = begun(output)
    second.close()
    third = begun(output)
    third.close()
    first.close()

    assert (refused, refused_again) == (None, None)


def test_a_follower_that_stood_still_adds_nothing_once_another_took_over(tmp_path: Path) -> None:
    """Not even what it was about to write."""
    output = StoredOutput(tmp_path)
    slow = begun(output)
    slow.append(b"0123")
    dead(output, tmp_path, 1)
    fast = begun(output)
    with (tmp_path / "output-000001").open("ab") as late:
        late.write(b"4567")
    fast.append(b"45")
    with pytest.raises(Fenced):
        slow.append(b"89")
    slow.complete()
    is_complete = output.is_complete()
    fast.append(b"67")
    slow.close()
    fast.close()

    assert fast.position == 8
    assert (output.read(0, 100), output.read(3, 2), output.size) == (b"01234567", b"34", 8)
    assert not is_complete


@pytest.mark.parametrize(("printed", "is_cut"), [(_ROOM, False), (_ROOM + 1, True), (1000, True)])
def test_an_output_is_cut_at_its_limit_and_says_so(tmp_path: Path, printed: int, *, is_cut: bool) -> None:
    """The line about it is within the limit; what just fits is not cut."""
    output = StoredOutput(tmp_path, limit_bytes=200)
    writer = begun(output)
    for _ in range(printed):
        writer.append(b"x")
    is_full = writer.is_full
    writer.close()

    assert output.read(0, 1000) == b"x" * _ROOM + (limit_marker(200) if is_cut else b"")
    assert is_full is is_cut


def test_a_cut_that_was_itself_cut_off_is_finished(tmp_path: Path) -> None:
    """By whoever takes over in the middle of that line."""
    whole, half = StoredOutput(tmp_path / "whole", 200), StoredOutput(tmp_path / "half", 200)
    writer = begun(whole)
    writer.append(b"x" * 500)
    writer.close()
    expected = whole.read(0, 500)
    writer = begun(half)
    room = 200 - expected[::-1].index(b"x")
    writer.append(expected[:room])
    os.write(os.open(tmp_path / "half" / "output-000001", os.O_WRONLY | os.O_APPEND), expected[room : room + 5])
    writer.close()
    successor = begun(half)
    successor.append(b"x" * 100)
    successor.close()

    assert half.read(0, 500) == expected


def test_the_last_beginning_on_record_stands(tmp_path: Path) -> None:
    """Whoever comes next has to know at which byte the engine's copy of an output begins."""
    writer = begun(StoredOutput(tmp_path))
    before = writer.beginning()
    writer.append(b"some")
    writer.begins(Beginning("one", 0))
    writer.begins(Beginning("two", 4))
    writer.close()

    assert before is None
    assert begun(StoredOutput(tmp_path)).beginning() == Beginning("two", 4)
