"""Fetches images: one task for each image, whoever waits for it, outside of the calls that ask how it is going.

That a fetch failed says nothing to whoever first asked after it had begun: the image may have been put there since.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from nodus_core.suppliers_file import Reference as SecretReference

from ...concurrency.threads import begin_thread
from ..protocol import EngineUnavailable
from .engine import LOOK_SECONDS, Engine
from .options import resolve
from .references import DOCKER_HUB, IMAGE_PULL_FAILED, WHAT_IS_WRONG, Reference, pull_code
from .troubles import Troubles

RETRY_SECONDS = 30.0
"""How long after a fetch that failed the next one begins."""

FORGET_SECONDS = 900.0
"""How long after a fetch that failed it is still known, if nobody asks for the image."""

SILENCE_SECONDS = 120.0
"""How long one may go on without a sign of progress."""

FETCH = "fetch the image"

_NO_THREAD = "this host has no thread in which to fetch an image"
_LONGEST_MESSAGE_BYTES = 1 << 20
_DOCKER_HUB_ADDRESS = "https://index.docker.io/v1/"

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Progress:
    """Adds up what an engine says of the layers of an image, over all fetches of it."""

    _layers: dict[str, tuple[int, int]] = field(default_factory=dict)
    _furthest: dict[tuple[str, str], int] = field(default_factory=dict)

    def note(self, line: Mapping[str, object]) -> bool:
        """Note one line. Return whether it says of a part of the image what was not said before."""
        part, status = line.get("id"), str(line.get("status"))
        if not isinstance(part, str) or not part:
            return False
        detail = line.get("progressDetail")
        counts = detail if isinstance(detail, Mapping) else {}
        current, total = counts.get("current"), counts.get("total")
        if isinstance(current, int) and isinstance(total, int) and status == "Downloading":
            self._layers[part] = (current, total)
        elif part in self._layers and isinstance(detail, Mapping):
            whole = self._layers[part][1]
            self._layers[part] = (whole, whole)
        reached = current if isinstance(current, int) else 0
        is_new = reached > self._furthest.get((part, status), -1)
        if is_new:
            self._furthest[part, status] = reached
        return is_new

    def __str__(self) -> str:
        there = sum(current for current, _total in self._layers.values())
        total = sum(total for _current, total in self._layers.values())
        if not total:
            return "fetching the image"
        return f"fetching the image: {there / 1e6:.0f} of {total / 1e6:.0f} MB so far"


@dataclass(slots=True)
class Pull:
    """How a fetch is going. Times are readings of the monotonic clock.

    Attributes:
        began_at: when this fetch began.
        progress_at: when something of the image last came, or the first fetch of it began.
        detail: how much of it is there.
        code: why it failed; None while it goes on.
        ended_at: when it failed.
        progress: what was said of it, by earlier fetches too.
    """

    began_at: float
    progress_at: float
    detail: str = ""
    code: str | None = None
    ended_at: float | None = None
    progress: Progress = field(default_factory=Progress)


class Images:
    """The images of an engine.

    Args:
        engine: the engine.
        troubles: where it is noted what goes wrong.
        credentials: `USER:PASSWORD` for registries, by registry.
        resolved: returns the secret that a reference stands for.
        clock: monotonic.
    """

    def __init__(
        self,
        engine: Engine,
        troubles: Troubles,
        credentials: Mapping[str, SecretReference],
        resolved: Callable[[SecretReference], str] = resolve,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._troubles = troubles
        self._credentials = credentials
        self._resolved = resolved
        self._clock = clock
        self._lock = threading.Lock()
        self._pulls: dict[Reference, Pull] = {}
        self._first_asked: dict[Reference, dict[str, float]] = {}
        self._threads: set[threading.Thread] = set()
        self._closing = False

    def is_there(self, reference: Reference, *, seconds: float = LOOK_SECONDS) -> bool:
        """Say whether the engine has an image.

        Raises:
            EngineUnavailable: it cannot be asked now.
        """
        return self._engine.ask("GET", f"/images/{reference}/json", seconds=seconds).require(200, 404).status == 200

    def pull(self, reference: Reference, asker: str) -> Pull:
        """Return how the fetch of an image is going, which begins with the first question.

        Args:
            reference: the image.
            asker: who wants to know: of two fetches, each learns only of one that began after its first question.

        Raises:
            EngineUnavailable: it cannot begin now.
        """
        with self._lock:
            now = self._clock()
            for known, pull in tuple(self._pulls.items()):
                if pull.ended_at is not None and now - pull.ended_at >= FORGET_SECONDS:
                    del self._pulls[known]
                    del self._first_asked[known]
            asked_at = self._first_asked.setdefault(reference, {}).setdefault(asker, now)
            found = self._pulls.get(reference)
            if found is None:
                pull = Pull(now, now, str(Progress()))
            elif _stands(found, asked_at, now):
                return found
            else:
                # That it is tried again is no progress.
                pull = Pull(
                    now, found.progress_at, WHAT_IS_WRONG[found.code or IMAGE_PULL_FAILED], progress=found.progress
                )
            if not self._closing:
                try:
                    self._threads.add(begin_thread("nodus-docker-pull", self._run, reference, pull))
                except RuntimeError as exc:
                    if found is None:
                        del self._first_asked[reference]
                    raise EngineUnavailable(_NO_THREAD, never_sent=True) from exc
            self._pulls[reference] = pull
        return pull

    def seconds_since_progress(self, pull: Pull) -> float:
        """Return how long nothing of an image has come."""
        return self._clock() - pull.progress_at

    def close(self) -> None:
        """Wait for what is under way, once the engine's streams are cut."""
        with self._lock:
            self._closing = True
            threads = tuple(self._threads)
        for thread in threads:
            thread.join()

    def _run(self, reference: Reference, pull: Pull) -> None:
        try:
            code = self._pull(reference, pull)
        except EngineUnavailable as exc:
            self._troubles.note(FETCH, str(reference), exc.detail)
            code = IMAGE_PULL_FAILED
        except Exception as exc:
            if self._troubles.note(FETCH, str(reference), WHAT_IS_WRONG[IMAGE_PULL_FAILED], str(exc)):
                _logger.exception("image %s could not be fetched", reference)
            code = IMAGE_PULL_FAILED
        if code is None:
            self._troubles.over(FETCH, str(reference))
        with self._lock:
            if code is None:
                # From now on the engine is asked whether it is there: somebody may remove it again.
                del self._pulls[reference]
                del self._first_asked[reference]
            pull.code, pull.ended_at = code, self._clock()
            self._threads.discard(threading.current_thread())

    def _pull(self, reference: Reference, pull: Pull) -> str | None:
        name = f"{reference.registry}/{reference.path}"
        params = {"fromImage": name, "tag": reference.digest or reference.tag or "latest"}
        with self._engine.stream(
            "POST",
            "/images/create",
            params=params,
            headers=self._headers(reference),
            answer_seconds=SILENCE_SECONDS,
            silence_seconds=SILENCE_SECONDS,
        ) as stream:
            if stream.status != 200:
                return self._failed(
                    reference, stream.status, stream.read(_LONGEST_MESSAGE_BYTES).decode("utf-8", "replace")
                )
            left = b""
            for data in stream.parts(None):
                *lines, left = (left + data).split(b"\n")
                for line in lines:
                    document = _read_line(line)
                    if "error" in document:
                        # Podman says so in the middle of an answer that began as a success.
                        return self._failed(reference, 200, str(document["error"]))
                    if pull.progress.note(document):
                        pull.progress_at, pull.detail = self._clock(), str(pull.progress)
            document = _read_line(left)
            if "error" in document:
                return self._failed(reference, 200, str(document["error"]))
        return None if self.is_there(reference) else IMAGE_PULL_FAILED

    def _failed(self, reference: Reference, status: int, message: str) -> str:
        code = pull_code(status, message)
        # For the operator alone: it may name hosts and proxies.
        self._troubles.note(FETCH, str(reference), WHAT_IS_WRONG[code], f"{code}: {message.strip()[:500]}")
        return code

    def _headers(self, reference: Reference) -> dict[str, str]:
        secret = self._credentials.get(reference.registry)
        if secret is None:
            return {}
        user, _, password = self._resolved(secret).partition(":")
        address = _DOCKER_HUB_ADDRESS if reference.registry == DOCKER_HUB else reference.registry
        login = {"username": user, "password": password, "serveraddress": address}
        return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(login).encode()).decode()}


def _stands(pull: Pull, asked_at: float, now: float) -> bool:
    """Say whether a fetch is still the one to be told of to whoever first asked at that time."""
    if pull.ended_at is None:
        return True
    return pull.began_at >= asked_at and now - pull.ended_at < RETRY_SECONDS


def _read_line(line: bytes) -> dict[str, object]:
    with contextlib.suppress(ValueError):
        found = json.loads(line)
        if isinstance(found, dict):
            return found
    return {}
