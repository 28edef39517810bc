"""Does for a driver what takes long, in a few threads: whoever asks how it is going does not wait for that."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from ..protocol import EngineUnavailable
from .troubles import Troubles

THREADS = 8

_FAILED = "the worker cannot do its part of it; its log says why"
_NO_THREAD = "the worker's host has no thread for it"

_logger = logging.getLogger(__name__)


class Background:
    """The work of one driver.

    Args:
        troubles: where it is noted what goes wrong.
    """

    def __init__(self, troubles: Troubles) -> None:
        self._troubles = troubles
        self._threads = ThreadPoolExecutor(THREADS, "nodus-docker")
        self._lock = threading.Lock()
        self._under_way: dict[tuple[str, str], object] = {}
        self._is_closed = False

    def do(self, what: str, of: str, work: Callable[[], object]) -> None:
        """Do something, unless it is being done. Where it fails, whoever polls next asks for it again."""
        key, turn = (what, of), object()

        def run() -> None:
            with self._lock:
                if self._under_way.get(key) is not turn:
                    return
            try:
                work()
            except EngineUnavailable as exc:
                self._troubles.note(what, of, exc.detail)
            except OSError as exc:
                self._troubles.note(what, of, _FAILED, str(exc))
            except Exception as exc:
                if self._troubles.note(what, of, _FAILED, type(exc).__name__):
                    _logger.exception("%s %s failed", what, of)
            else:
                self._troubles.over(what, of)
            finally:
                with self._lock:
                    del self._under_way[key]

        with self._lock:
            if key in self._under_way or self._is_closed:
                return
            self._under_way[key] = turn
            try:
                self._threads.submit(run)
            except RuntimeError:
                # It may be queued all the same, for a thread that does not come; whoever asks again has another turn.
                del self._under_way[key]
                self._troubles.note(what, of, _NO_THREAD)

    def stop(self) -> None:
        """Begin nothing more."""
        with self._lock:
            self._is_closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Wait for what is under way."""
        self._threads.shutdown(wait=True)
