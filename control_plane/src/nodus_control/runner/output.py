"""The file in which a program's output is kept, and its limit."""

from __future__ import annotations

import contextlib
import json
import os

READ_SIZE = 1 << 20


def limit_marker(limit_bytes: int) -> bytes:
    """The last line of an output that was cut."""
    amount = f"{limit_bytes >> 20} MiB" if limit_bytes % (1 << 20) == 0 else f"{limit_bytes} bytes"
    return f"\n[nodus: the output reached its limit of {amount}; the rest was not kept]\n".encode("ascii")


def image_notice(image: str) -> str:
    """The first line of every output: each job names an image and a GPU, and this driver runs and attaches none."""
    shown = json.dumps(image)[1:-1]
    return (
        f"[nodus: image {shown} was not run, and no GPU attached: the process driver runs the command itself, on the "
        "worker's machine]\n"
    )


class Output:
    """A notice, then at most `limit_bytes` of output, including the line that marks a cut. The rest is dropped."""

    def __init__(self, path: str, limit_bytes: int, notice: str = "") -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        self._file = os.open(path, flags, 0o600)
        self._marker = limit_marker(limit_bytes)
        self._room = limit_bytes - len(self._marker)
        self._cut = False
        with contextlib.suppress(OSError):
            self._append(notice.encode("ascii"))

    def write(self, data: bytes) -> None:
        """Append at once, without a buffer. A full disk cuts the output, and the program does not notice."""
        if self._cut:
            return
        kept = data[: self._room]
        try:
            self._append(kept)
            self._room -= len(kept)
            if len(kept) < len(data):
                self._cut = True
                self._append(self._marker)
        except OSError:
            self._cut = True

    def close(self) -> None:
        """Flush what was kept to the disk."""
        with contextlib.suppress(OSError):
            os.fsync(self._file)
        os.close(self._file)

    def _append(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]
