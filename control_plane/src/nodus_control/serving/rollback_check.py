"""What this machine remembers of a database's ledgers: the last checkpoint that was seen of each.

A backup that was restored looks like any other database to whoever opens it: its rows are sound, its signatures are
good. Only who remembers what was there before can tell that budgets, jobs and ledgers have gone back.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from nodus_ledger.trust.sizes import LedgerSizes, Seen, WentBack

from ..concurrency.threads import begin_thread
from ..trouble import Trouble

KEEPING_SECONDS = 10.0
"""How often, at most, what was seen is written."""

_SHARE = 100
"""The part of the time that looking may take: with very many customers it is done less often."""

_MOST_NAMED = 8

_logger = logging.getLogger(__name__)


class RolledBack(Exception):
    """Ledgers have gone back since this machine saw them last; the message names them, and says what to do."""

    def __init__(self, gone: list[WentBack]) -> None:
        named = "; ".join(map(str, gone[:_MOST_NAMED]))
        more = f"; and {len(gone) - _MOST_NAMED} more" if len(gone) > _MOST_NAMED else ""
        super().__init__(
            f"{named}{more}: an older backup was restored, and jobs, spend and idempotency keys that came after it are "
            "forgotten, so that budgets can be spent again. If that is so, start once with --accept-rollback"
        )


def summary(present: Mapping[str, Seen]) -> str:
    """Say in a line how large the ledgers are, the largest first."""
    if not present:
        return "ledgers: none yet"
    ordered = sorted(present.items(), key=lambda each: (-each[1].size, each[0]))
    named = ", ".join(f"{customer_id} {seen.size}" for customer_id, seen in ordered[:_MOST_NAMED])
    more = f", and {len(ordered) - _MOST_NAMED} more" if len(ordered) > _MOST_NAMED else ""
    return f"ledgers: {named}{more}; {sum(seen.size for seen in present.values())} rows in all"


class LedgerMemory:
    """The file in which one machine's user remembers the ledgers of one database, and the thread that keeps it.

    Args:
        path: the file; its folder is made when there is something to remember.
        ledgers: the ledgers of the database.
    """

    def __init__(self, path: Path, ledgers: LedgerSizes) -> None:
        self._path = path
        self._ledgers = ledgers
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._trouble = Trouble(_logger, "remembering the ledgers")

    def require_whole(self, *, accept_at: int | None = None) -> Mapping[str, Seen]:
        """Check that no ledger went back, and return them all.

        Args:
            accept_at: the time (Unix milliseconds) at which an operator accepts that they did; it is recorded.

        Raises:
            RolledBack: some did, and nobody accepted it.
        """
        present = self._ledgers.all()
        gone = self._ledgers.went_back(self._load(), present)
        if gone and accept_at is None:
            raise RolledBack(gone)
        if gone and accept_at is not None:
            self._ledgers.accept(gone, accept_at)
            present = self._ledgers.all()
        self._store(present)
        return present

    def start(self) -> None:
        """Begin to keep up with the ledgers, in a thread."""
        self._thread = begin_thread("nodus-ledgers", self._run)

    def stop(self) -> None:
        """Stop, and remember what is there now."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self._keep_up()

    def _run(self) -> None:
        pause = KEEPING_SECONDS
        while not self._stopping.wait(pause):
            began = time.monotonic()
            self._keep_up()
            pause = max(KEEPING_SECONDS, _SHARE * (time.monotonic() - began))

    def _keep_up(self) -> None:
        try:
            before, present = self._load(), self._ledgers.all()
            if before == present:
                return
            gone = self._ledgers.went_back(before, present)
            if gone:
                # The memory stays as it is: the next start asks what is to be done.
                raise RolledBack(gone)
            self._store(present)
        except Exception as exc:
            self._trouble.say(exc)

    def _load(self) -> dict[str, Seen]:
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
            return {each: Seen(int(size), bytes.fromhex(root)) for each, (size, root) in kept["ledgers"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
            _logger.warning("%s cannot be read, so whether a ledger went back is not known: %s", self._path, exc)
            return {}

    def _store(self, present: Mapping[str, Seen]) -> None:
        kept = {"ledgers": {each: [seen.size, seen.root.hex()] for each, seen in sorted(present.items())}}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, draft = tempfile.mkstemp(dir=self._path.parent, prefix=self._path.name)
            try:
                with open(descriptor, "w", encoding="utf-8") as file:
                    json.dump(kept, file)
                os.replace(draft, self._path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(draft)
                raise
        except OSError as exc:
            self._trouble.say(exc)
