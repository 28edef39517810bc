"""What a program printed, kept in a folder that all processes see, byte for byte and up to a limit.

An output is written by one follower at a time, each into a part of its own, which it alone appends to. A part says at
which byte of the output it begins. Whatever an earlier follower, that stood still, appends to its own part after that
byte has no place in the output: the number in the name of a part is the fence.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from nodus_control.runner.output import limit_marker

from ..protocol import EngineUnavailable

LIMIT_BYTES = 64 << 20
LEASE_SECONDS = 10.0
"""For how long a part belongs to the follower that last showed that it lives, by the clock of the file system."""

DROPPED_MARKER = (
    b"\n[nodus: the engine has dropped the output that it held before what follows, some of which may stand above]\n"
)

_PART = "output-"
_BEGINNING = "beginning-"
_COMPLETE = "complete-"
_HEAD_BYTES = 21
_FRAME_HEAD_BYTES = 8
_LINE_BYTES = 16_384
_ENGINE_ERROR = 3


class Fenced(Exception):
    """Another follower has taken over."""


class Frames:
    """Takes apart the stream of an engine: frames of a stream's number, three zeros and four bytes of length.

    Docker cuts a line of more than 16 KiB into frames, and its log driver `local` loses the line break behind the last
    of them (20.10). It is put back, but at the end of all output, where nothing tells it from one that never was there.

    Args:
        of_lines: each frame is a line, or 16 KiB of one: a shorter one without a line break has lost it.
    """

    def __init__(self, *, of_lines: bool = False) -> None:
        self._of_lines = of_lines
        self._lost_break: set[int] = set()
        self._stream = 0
        self._size = 0
        self._head = b""
        self._left = 0
        self._taken = 0
        self.last_begins_at = 0
        """At which byte of what was printed the frame begins that came last."""
        self._is_broken = False

    def require_whole(self) -> None:
        """Check that there is nothing missing in what came.

        Raises:
            EngineUnavailable: the engine has said, in a stream of its own, that it cannot give the rest.
        """
        if self._is_broken:
            raise EngineUnavailable("the supplier's engine cannot give the rest of an output")

    def feed(self, data: bytes) -> bytes:
        """Return what a program printed, of what came. Nothing is, from where the engine says that it has no more."""
        found = bytearray()
        view = memoryview(data)
        while view and not self._is_broken:
            if not self._left:
                wanted = _FRAME_HEAD_BYTES - len(self._head)
                self._head += bytes(view[:wanted])
                view = view[wanted:]
                if len(self._head) < _FRAME_HEAD_BYTES:
                    break
                self._stream, self._size = self._head[0], int.from_bytes(self._head[4:], "big")
                if self._stream == _ENGINE_ERROR:
                    self._is_broken = True
                    break
                self._left = self._size
                self._head = b""
                if self._stream in self._lost_break or (self._of_lines and not self._size):
                    self._lost_break.discard(self._stream)
                    found += b"\n"
                    self._taken += 1
                self.last_begins_at = self._taken
                continue
            taken = view[: self._left]
            found += taken
            self._left -= len(taken)
            self._taken += len(taken)
            view = view[len(taken) :]
            if self._of_lines and not self._left and self._size < _LINE_BYTES and found[-1:] != b"\n":
                self._lost_break.add(self._stream)
        return bytes(found)


@dataclass(frozen=True, slots=True)
class _Part:
    number: int
    offset: int
    path: Path
    size: int


class StoredOutput:
    """The output of an attempt.

    Args:
        folder: the attempt's.
        limit_bytes: how much of it is kept, including the line that says that it was cut.
    """

    def __init__(self, folder: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self._folder = folder
        self._marker = limit_marker(limit_bytes)
        self._limit_bytes = limit_bytes

    @property
    def size(self) -> int:
        """How many bytes are kept so far."""
        parts = self._parts()
        return parts[-1].offset + parts[-1].size if parts else 0

    def is_complete(self) -> bool:
        """Say whether nothing more will come."""
        parts = self._parts()
        return bool(parts) and (self._folder / f"{_COMPLETE}{parts[-1].number:06d}").exists()

    def read(self, offset: int, limit: int) -> bytes:
        """Return up to `limit` bytes from `offset` on."""
        parts = self._parts()
        found = bytearray()
        for index, part in enumerate(parts):
            end = parts[index + 1].offset if index + 1 < len(parts) else part.offset + part.size
            begin = max(offset + len(found), part.offset)
            wanted = min(end - begin, limit - len(found))
            if wanted <= 0 or begin != offset + len(found):
                continue
            with part.path.open("rb") as file:
                file.seek(_HEAD_BYTES + begin - part.offset)
                found += file.read(wanted)
        return bytes(found)

    def begin(self) -> Writer | None:
        """Begin the next part; None where another follower lives, or nothing more will come.

        Raises:
            OSError: the disk is full.
        """
        self._folder.mkdir(0o700, parents=True, exist_ok=True)
        parts = self._parts()
        if parts and (self._folder / f"{_COMPLETE}{parts[-1].number:06d}").exists():
            return None
        number = parts[-1].number + 1 if parts else 1
        offset = parts[-1].offset + parts[-1].size if parts else 0
        written = self._folder / f".{_PART}{secrets.token_hex(8)}"
        descriptor = os.open(written, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, b"%020d\n" % offset)
            if parts and os.fstat(descriptor).st_mtime - parts[-1].path.stat().st_mtime < LEASE_SECONDS:
                os.close(descriptor)
                return None
            path = self._folder / f"{_PART}{number:06d}"
            try:
                os.link(written, path)
            except FileExistsError:
                os.close(descriptor)
                return None
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(descriptor)
            raise
        finally:
            with contextlib.suppress(FileNotFoundError):
                written.unlink()
        return Writer(self._folder, number, offset, descriptor, self._limit_bytes, self._marker)

    def _parts(self) -> list[_Part]:
        """Return the parts, in order."""
        found = []
        try:
            names = sorted(name for name in os.listdir(self._folder) if name.startswith(_PART))
        except FileNotFoundError:
            return []
        for name in names:
            path = self._folder / name
            with path.open("rb") as file:
                offset = int(file.read(_HEAD_BYTES))
                size = os.fstat(file.fileno()).st_size - _HEAD_BYTES
            found.append(_Part(int(name.removeprefix(_PART)), offset, path, size))
        return found


@dataclass(frozen=True, slots=True)
class Beginning:
    """With what the engine's copy of an output begins.

    Attributes:
        printed_at: when the first line that it holds was printed, as the engine writes it.
        offset: at which byte of the stored output that line begins.
    """

    printed_at: str
    offset: int


class Writer:
    """Appends to one part of an output."""

    def __init__(
        self, folder: Path, number: int, offset: int, descriptor: int, limit_bytes: int, marker: bytes
    ) -> None:
        self._folder = folder
        self._number = number
        self._descriptor = descriptor
        self._room = limit_bytes - len(marker)
        self._marker = marker
        self.position = offset
        """How many bytes of the output are kept, those of earlier parts included."""

    @property
    def is_full(self) -> bool:
        """Whether the output reached its limit: what comes now is not kept."""
        return self.position > self._room

    def append(self, data: bytes) -> None:
        """Keep what comes next.

        Raises:
            Fenced: another follower has taken over.
            OSError: the disk is full.
        """
        if (self._folder / f"{_PART}{self._number + 1:06d}").exists():
            raise Fenced
        if not self.is_full:
            room = self._room - self.position
            self._write(data[:room])
            if len(data) <= room:
                return
        self._write(self._marker[self.position - self._room :])

    def beginning(self) -> Beginning | None:
        """Return the last beginning on record; None where there is none."""
        names = sorted(name for name in os.listdir(self._folder) if name.startswith(_BEGINNING))
        if not names:
            return None
        printed_at = (self._folder / names[-1]).read_text(encoding="utf-8")
        return Beginning(printed_at, int(names[-1].removeprefix(_BEGINNING)))

    def begins(self, beginning: Beginning) -> None:
        """Record with what the engine's copy begins now."""
        path = self._folder / f"{_BEGINNING}{beginning.offset:020d}"
        written = self._folder / f".{path.name}.{secrets.token_hex(8)}"
        written.write_text(beginning.printed_at, encoding="utf-8")
        written.replace(path)

    def beat(self) -> None:
        """Show that the follower lives."""
        with contextlib.suppress(OSError):
            os.utime(self._descriptor)

    def complete(self) -> None:
        """Say that nothing more will come."""
        os.fsync(self._descriptor)
        with contextlib.suppress(FileExistsError):
            path = self._folder / f"{_COMPLETE}{self._number:06d}"
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))

    def close(self) -> None:
        """Let the next follower take over at once."""
        with contextlib.suppress(OSError):
            os.utime(self._descriptor, (0, 0))
        os.close(self._descriptor)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.write(self._descriptor, view)
            self.position += written
            view = view[written:]
