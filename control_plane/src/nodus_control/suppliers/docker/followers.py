"""Copies what programs print from the engine into the store: one follower for each attempt, in a thread of its own."""

from __future__ import annotations

import logging
import threading

from ..protocol import EngineUnavailable
from .engine import Engine
from .output import Fenced, Frames, StoredOutput, Writer
from .state import Stage, read_container

BEAT_SECONDS = 2.0
_PAUSE_SECONDS = 0.2

_logger = logging.getLogger(__name__)


class Followers:
    """The followers of this process.

    Args:
        engine: whose containers print.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._threads: dict[str, threading.Thread] = {}
        self._writers: set[Writer] = set()
        self._beating: threading.Thread | None = None
        self._closing = threading.Event()

    def ensure(self, container_id: str, output: StoredOutput) -> None:
        """See to it that somebody copies the output of this container: this process, unless another one does."""
        with self._lock:
            if container_id in self._threads or self._closing.is_set():
                return
        writer = output.begin()
        if writer is None:
            return
        thread = threading.Thread(
            target=self._run, args=(container_id, writer), name="nodus-docker-output", daemon=True
        )
        with self._lock:
            self._threads[container_id] = thread
            self._writers.add(writer)
            if self._beating is None:
                self._beating = threading.Thread(target=self._beat, name="nodus-docker-beat", daemon=True)
                self._beating.start()
        thread.start()

    def stop(self) -> None:
        """Begin no more, and let those that run end soon."""
        self._closing.set()

    def close(self) -> None:
        """Stop, once the engine's streams are cut; whoever comes next goes on where these stopped."""
        self._closing.set()
        with self._lock:
            threads = [*self._threads.values(), *([] if self._beating is None else [self._beating])]
        for thread in threads:
            thread.join()

    def _run(self, container_id: str, writer: Writer) -> None:
        try:
            self._follow(container_id, writer)
        except (EngineUnavailable, Fenced):
            pass  # The next poll sees to it that somebody goes on.
        except Exception:
            _logger.exception("the output of container %s cannot be stored; trying again", container_id[:12])
        finally:
            with self._lock:
                del self._threads[container_id]
                self._writers.discard(writer)
                # Under the lock, so that nobody shows that it lives after it was given up.
                writer.close()

    def _follow(self, container_id: str, writer: Writer) -> None:
        while not self._closing.is_set():
            # Asked first: what is printed between the two questions is in the copy that begins after the end.
            is_over = self._is_over(container_id)
            self._copy(container_id, writer, follow=not is_over)
            if is_over or writer.is_full:
                writer.complete()
                return
            self._closing.wait(_PAUSE_SECONDS)

    def _is_over(self, container_id: str) -> bool:
        answer = self._engine.ask("GET", f"/containers/{container_id}/json")
        if answer.status == 404:
            return True
        container = read_container(answer.require(200).document())
        return container.stage in (Stage.ENDED, Stage.REFUSED)

    def _copy(self, container_id: str, writer: Writer, *, follow: bool) -> None:
        """Read from the beginning, and append what is not kept yet."""
        frames = Frames()
        skipped = writer.position
        params = {"stdout": "true", "stderr": "true", "follow": "true" if follow else "false"}
        with self._engine.stream(
            "GET", f"/containers/{container_id}/logs", params=params, silence_seconds=None if follow else 60.0
        ) as stream:
            if stream.status == 404:
                return
            if stream.status != 200:
                raise EngineUnavailable(f"the supplier's engine answered with status {stream.status}")
            for data in stream:
                printed = frames.feed(data)
                if skipped:
                    passed = min(skipped, len(printed))
                    skipped -= passed
                    printed = printed[passed:]
                if printed and not writer.is_full:
                    writer.append(printed)
                if writer.is_full or self._closing.is_set():
                    return

    def _beat(self) -> None:
        while not self._closing.wait(BEAT_SECONDS):
            with self._lock:
                for writer in self._writers:
                    writer.beat()
