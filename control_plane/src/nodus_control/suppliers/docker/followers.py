"""Copies what programs print from the engine into the store: one follower for each attempt, in a thread of its own.

Docker's output is followed as it comes. Podman changes the order of lines where it begins to follow, so its output is
read again and again from the beginning, which is exact but for the last line, which may be half written.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ...concurrency.threads import begin_thread
from ..protocol import EngineUnavailable
from .engine import Engine
from .output import DROPPED_MARKER, Beginning, Fenced, Frames, StoredOutput, Writer
from .state import Stage, read_container
from .streams import Stream, status_is
from .troubles import Troubles

BEAT_SECONDS = 2.0
SHORTEST_REST_SECONDS = 1.0
LONGEST_REST_SECONDS = 30.0
"""Between two attempts to copy an output that cannot be copied. A rest is twice as long as the one before."""

COPY = "copy the output of"

_NOT_KEPT = "what it prints cannot be kept at the moment"
_PAUSE_SECONDS = 0.2
_READ_SECONDS = 0.5
_LOOK_SECONDS = 1.0
_REST_FACTOR = 10
_SILENCE_SECONDS = 60.0
_PART_BYTES = 64 << 10

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Rest:
    """How long an output rests that could not be copied, and until when, by the monotonic clock."""

    seconds: float
    until: float


@dataclass(frozen=True, slots=True)
class _Copying:
    """Who copies an output; they look at once whether the program has ended when they are told."""

    thread: threading.Thread
    told: threading.Event


class Followers:
    """The followers of this process.

    Args:
        engine: whose containers print.
        troubles: where it is noted what goes wrong.
        can_follow: asks whether what it says as it comes is what was printed.
        monotonic: real time, in seconds.
    """

    def __init__(
        self,
        engine: Engine,
        troubles: Troubles,
        can_follow: Callable[[], bool],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._troubles = troubles
        self._can_follow = can_follow
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._copies: dict[str, _Copying] = {}
        self._writers: set[Writer] = set()
        self._rests: dict[str, _Rest] = {}
        self._beating: threading.Thread | None = None
        self._closing = threading.Event()

    def ensure(self, container_id: str, output: StoredOutput) -> None:
        """See to it that somebody copies the output of this container: this process, unless another one does."""
        with self._lock:
            rest = self._rests.get(container_id)
            is_resting = rest is not None and self._monotonic() < rest.until
            if is_resting or container_id in self._copies or self._closing.is_set():
                return
        try:
            writer = output.begin()
            if writer is not None:
                self._begin(container_id, writer)
        except (OSError, RuntimeError) as exc:
            self._troubles.note(COPY, container_id[:12], _NOT_KEPT, str(exc))
            self._rest(container_id)

    def _begin(self, container_id: str, writer: Writer) -> None:
        """Copy an output in a thread of its own.

        Raises:
            RuntimeError: there is no thread to be had.
        """
        with contextlib.ExitStack() as undo, self._lock:
            undo.callback(writer.close)
            # `close` may have counted the threads that it waits for.
            if not self._closing.is_set():
                if self._beating is None:
                    self._beating = begin_thread("nodus-docker-beat", self._beat)
                told = threading.Event()
                thread = begin_thread("nodus-docker-output", self._run, container_id, writer, told)
                self._copies[container_id] = _Copying(thread, told)
                self._writers.add(writer)
                undo.pop_all()

    def has_ended(self, container_id: str) -> None:
        """Say that a program was seen to have ended: the rest of its output is copied now, whatever went wrong."""
        with self._lock:
            self._rests.pop(container_id, None)
            if container_id in self._copies:
                self._copies[container_id].told.set()

    def forget(self, container_id: str) -> None:
        """Know nothing more of a container, which is gone."""
        with self._lock:
            self._rests.pop(container_id, None)

    def stop(self) -> None:
        """Begin no more, and let those that run end soon."""
        with self._lock:
            self._closing.set()
            for copying in self._copies.values():
                copying.told.set()

    def close(self) -> None:
        """Stop, once the engine's streams are cut; whoever comes next goes on where these stopped."""
        self.stop()
        with self._lock:
            threads = [copying.thread for copying in self._copies.values()]
            threads += [] if self._beating is None else [self._beating]
        for thread in threads:
            thread.join()

    def _run(self, container_id: str, writer: Writer, told: threading.Event) -> None:
        began_at = self._monotonic()
        try:
            self._follow(container_id, writer, told)
            self.forget(container_id)
            self._troubles.over(COPY, container_id[:12])
        except Fenced:
            pass
        # A later poll sees to it that somebody goes on.
        except EngineUnavailable as exc:
            # Once, it is an engine that is restarted, which is not about this output.
            if self._rest(container_id, began_at) > SHORTEST_REST_SECONDS:
                self._troubles.note(COPY, container_id[:12], exc.detail)
        except OSError as exc:
            self._rest(container_id, began_at)
            self._troubles.note(COPY, container_id[:12], _NOT_KEPT, str(exc))
        except Exception as exc:
            self._rest(container_id, began_at)
            if self._troubles.note(COPY, container_id[:12], _NOT_KEPT, type(exc).__name__):
                _logger.exception("the output of container %s cannot be kept", container_id[:12])
        finally:
            with self._lock:
                del self._copies[container_id]
                self._writers.discard(writer)
                # Under the lock, so that nobody shows that it lives after it was given up.
                writer.close()

    def _rest(self, container_id: str, began_at: float = math.inf) -> float:
        """Leave an output alone that could not be copied, and return for how long.

        Args:
            container_id: whose it is.
            began_at: when its copying began, by the monotonic clock: one that went well for long is not to blame.
        """
        with self._lock:
            now = self._monotonic()
            last = self._rests.get(container_id)
            if last is None or now - began_at >= LONGEST_REST_SECONDS:
                seconds = SHORTEST_REST_SECONDS
            else:
                seconds = min(2 * last.seconds, LONGEST_REST_SECONDS)
            self._rests[container_id] = _Rest(seconds, now + seconds)
        return seconds

    def _follow(self, container_id: str, writer: Writer, told: threading.Event) -> None:
        can_follow = self._can_follow()
        copy = _Copy(self._engine, container_id, writer, self._closing, of_lines=can_follow)
        read_at = -math.inf
        while not self._closing.is_set():
            # Asked first: what is printed between the two questions is in the copy that begins after the end.
            is_over = self._is_over(container_id)
            began = time.monotonic()
            if is_over:
                copy.rest()
            elif can_follow:
                copy.follow()
            elif began >= read_at:
                copy.so_far()
                ended = time.monotonic()
                read_at = ended + max(_READ_SECONDS, _REST_FACTOR * (ended - began))
            if self._closing.is_set():
                return
            if is_over or writer.is_full:
                writer.complete()
                return
            # Also where another worker sees the end, it is not waited for as long as an output takes to be read.
            told.wait(_PAUSE_SECONDS if can_follow else min(max(0.0, read_at - time.monotonic()), _LOOK_SECONDS))
            told.clear()

    def _is_over(self, container_id: str) -> bool:
        answer = self._engine.ask("GET", f"/containers/{container_id}/json")
        if answer.status == 404:
            return True
        container = read_container(answer.require(200).document())
        return container.stage in (Stage.ENDED, Stage.REFUSED, Stage.RESET)

    def _beat(self) -> None:
        while not self._closing.wait(BEAT_SECONDS):
            with self._lock:
                for writer in self._writers:
                    writer.beat()


class _Copy:
    """The copy of one output, each time read from its beginning, without what is kept already.

    `of_lines` is as for `Frames`.
    """

    def __init__(
        self, engine: Engine, container_id: str, writer: Writer, closing: threading.Event, *, of_lines: bool
    ) -> None:
        self._of_lines = of_lines
        self._engine = engine
        self._path = f"/containers/{container_id}/logs"
        self._writer = writer
        self._closing = closing
        self._last_line: tuple[int, bytes] | None = None
        self._beginning: Beginning | None = None

    def follow(self) -> None:
        """Append what comes, until the program ends."""
        self._read(follow=True, holds_back=False)

    def rest(self) -> None:
        """Append what a program that has ended had printed."""
        self._read(follow=False, holds_back=False)

    def so_far(self) -> None:
        """Append what a program has printed so far; the last line only if it was the same when it was last read."""
        self._read(follow=False, holds_back=True)

    def _read(self, *, follow: bool, holds_back: bool) -> None:
        frames = Frames(of_lines=self._of_lines)
        held, begins_at = b"", self._begin()
        first = begins_at
        params = {"stdout": "true", "stderr": "true", "follow": "true" if follow else "false"}
        silence = None if follow else _SILENCE_SECONDS
        with self._engine.stream("GET", self._path, params=params, silence_seconds=silence) as stream:
            if not _has_output(stream):
                return
            # Where nobody waits for a line, many are kept at a time.
            for data in stream.parts(None if follow else _PART_BYTES):
                held += frames.feed(data)
                wanted = first + frames.last_begins_at - begins_at if holds_back else len(held)
                self._keep(begins_at, held[:wanted])
                held, begins_at = held[wanted:], begins_at + wanted
                if self._beginning is None and self._writer.position and (follow or holds_back):
                    printed_at = self._first_printed_at()
                    if printed_at is not None:
                        self._note(Beginning(printed_at, 0))
                if self._writer.is_full or self._closing.is_set():
                    return
                frames.require_whole()
        if self._last_line == (begins_at, held):
            self._keep(begins_at, held)
        self._last_line = begins_at, held

    def _begin(self) -> int:
        """Return at which byte of the output the engine's copy of it begins: 0, unless it has dropped some."""
        if not self._writer.position or self._writer.is_full:
            return 0
        if self._beginning is None:
            self._beginning = self._writer.beginning()
        if self._beginning is None:
            return 0
        printed_at = self._first_printed_at()
        if printed_at is None:
            return self._writer.position
        if printed_at != self._beginning.printed_at:
            self._writer.append(DROPPED_MARKER)
            self._last_line = None
            self._note(Beginning(printed_at, self._writer.position))
        return self._beginning.offset

    def _note(self, beginning: Beginning) -> None:
        """Record with what the engine's copy begins: whoever reads it again asks whether it still does."""
        self._beginning = beginning
        self._writer.begins(beginning)

    def _first_printed_at(self) -> str | None:
        """Return when the first line that the engine holds was printed; None where it holds none."""
        frames, found = Frames(), b""
        params = {"stdout": "true", "stderr": "true", "timestamps": "true", "follow": "false"}
        with self._engine.stream("GET", self._path, params=params, silence_seconds=_SILENCE_SECONDS) as stream:
            for data in stream.parts(None) if _has_output(stream) else ():
                found += frames.feed(data)
                if b" " in found:
                    return found.partition(b" ")[0].decode("ascii", "replace")
                frames.require_whole()
        return None

    def _keep(self, begins_at: int, printed: bytes) -> None:
        """Keep what is new of some bytes of the output."""
        new = printed[max(0, self._writer.position - begins_at) :]
        if new and not self._writer.is_full:
            self._writer.append(new)


def _has_output(stream: Stream) -> bool:
    """Say whether the engine gives an output; it has none of a container that is not there.

    Raises:
        EngineUnavailable: it says neither.
    """
    if stream.status not in (200, 404):
        raise EngineUnavailable(status_is(stream.status))
    return stream.status == 200
