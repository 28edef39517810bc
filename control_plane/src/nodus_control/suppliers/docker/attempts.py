"""The folder of an attempt: who may start it, why it is to end, how it ended, and what it printed.

All processes of a control plane see it. It outlives the container, so that what was started once is never started
again, not even by a worker that stood still while the container was run, removed and forgotten.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..protocol import PlacementState, Report
from .output import StoredOutput

CUT_MARKER = b"\n[nodus: the rest of the output could not be copied from the engine; it was not kept]\n"

_CUT = "cut.json"
_START = "start.json"
_ENDING = "ending.json"
_END = "end.json"
_PRIVATE = 0o700


class Attempt:
    """One attempt's folder; each record in it is written once, by whoever comes first, and stands for ever.

    Args:
        folder: where it is, or will be once something is recorded.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = StoredOutput(folder)

    def claim(self, container_id: str) -> bool:
        """Take the one right to start the program, in this container. Return whether it was taken by this call."""
        return publish(self.folder, _START, {"container": container_id})

    def withdraw(self) -> bool:
        """See to it that the program never starts. Return whether it never will: False if somebody may start it."""
        publish(self.folder, _START, {"container": None})
        return self.is_withdrawn()

    def claimed_by(self) -> str | None:
        """Return the container that alone may be started; None for none so far, or none any more."""
        found = read(self.folder, _START)
        return None if found is None else found["container"]

    def is_withdrawn(self) -> bool:
        """Say whether the program certainly never ran, and never will."""
        found = read(self.folder, _START)
        return found is not None and found["container"] is None

    def request_end(self, reason: str) -> None:
        """Record why it is to end."""
        publish(self.folder, _ENDING, {"reason": reason})

    def ending(self) -> str | None:
        """Return why it is to end; None while it is not."""
        found = read(self.folder, _ENDING)
        return None if found is None else str(found["reason"])

    def cut_output(self) -> None:
        """Record that no more of the output is kept, although there was more of it."""
        publish(self.folder, _CUT, {"size": self.output.size})

    def read_output(self, offset: int, limit: int) -> tuple[bytes, int]:
        """Return up to `limit` bytes of the output from `offset` on, and how many there are. A cut one says so."""
        found = read(self.folder, _CUT)
        if found is None:
            total = self.output.size  # Asked first: it grows.
            return self.output.read(offset, limit), total
        kept = int(found["size"])
        data = self.output.read(offset, max(0, min(limit, kept - offset)))
        if offset + len(data) >= kept:
            data += CUT_MARKER[offset + len(data) - kept :][: limit - len(data)]
        return data, kept + len(CUT_MARKER)

    def end(self, report: Report) -> Report:
        """Record the last report of it, and return the one that stands."""
        publish(self.folder, _END, _document(report))
        return self.ended() or report

    def ended(self) -> Report | None:
        """Return the last report of it; None while there is none."""
        found = read(self.folder, _END)
        return None if found is None else _report(found)


def publish(folder: Path, name: str, document: Mapping[str, object]) -> bool:
    """Make a record appear, whole and on disk. Return False, and change nothing, if it is there already.

    Raises:
        OSError: the disk is full, or the file system has no hard links.
    """
    path = folder / name
    if path.exists():
        return False
    folder.mkdir(_PRIVATE, parents=True, exist_ok=True)
    written = folder / f".{name}.{secrets.token_hex(8)}"
    try:
        with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(written, path)
        except FileExistsError:
            return False
        return True
    finally:
        with contextlib.suppress(FileNotFoundError):
            written.unlink()


def read(folder: Path, name: str) -> dict[str, Any] | None:
    """Return a record; None where there is none."""
    try:
        found: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found


def _document(report: Report) -> dict[str, object]:
    return {
        "state": report.state.value,
        "started_at": report.started_at,
        "finished_at": report.finished_at,
        "error_code": report.error_code,
        "error_message": report.error_message,
        "engine_ref": report.engine_ref,
    }


def _report(document: Mapping[str, Any]) -> Report:
    return Report(
        PlacementState(document["state"]),
        started_at=document["started_at"],
        finished_at=document["finished_at"],
        error_code=document["error_code"],
        error_message=document["error_message"],
        engine_ref=document["engine_ref"],
    )
