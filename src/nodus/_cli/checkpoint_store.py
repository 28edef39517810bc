"""Remembers the last checkpoint that this machine saw of each ledger, and compares the next one with it.

Each checkpoint verifies by itself. Only one that was kept shows that a ledger lost rows, or that its beginning was
rewritten. A log is identified by its origin and the key that signs for it (C2SP tlog-checkpoint). If an address shows
another key than before, its log has to be consistent with the checkpoint under the old key.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .._checkpoints import open_checkpoint
from .._config import is_loopback
from .._errors import LedgerError, NodusError
from .._ledger import verify_consistency
from .invocation import Invocation

if TYPE_CHECKING:
    from .._async.client import AsyncClient
    from .._resources import ConsistencyProof, LedgerCheckpoint

_SIGNATURE_LINE = "\u2014 "


@dataclass(frozen=True)
class SeenCheckpoint:
    """A checkpoint, and where it came from.

    Attributes:
        origin: the log's name.
        key_id: the identifier of the key that signed it, in hexadecimal; empty if it has no signature.
        base_url: the control plane's address.
        size: how many rows the log had.
        note: the checkpoint as a signed note.
    """

    origin: str
    key_id: str
    base_url: str
    size: int
    note: str

    @classmethod
    def of(cls, note: str, base_url: str) -> SeenCheckpoint:
        """Read a signed note.

        Raises:
            LedgerError: it is none.
        """
        opened = open_checkpoint(note, None)
        return cls(opened.origin, _key_id(note, opened.origin), base_url, opened.size, note)


class CheckpointStore:
    """The checkpoints in a folder, each log's in a file of its own.

    Two processes may write at the same time: each file is replaced as a whole, and the larger checkpoint stays.

    Args:
        folder: where they are kept; made when it is first needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, origin: str) -> list[SeenCheckpoint]:
        """Return what was seen of the logs of this name.

        Raises:
            OSError: the folder cannot be read.
        """
        found = [_read(path) for path in sorted(self._folder.glob("*.json"))]
        return [seen for seen in found if seen is not None and seen.origin == origin]

    def save(self, seen: SeenCheckpoint, *, even_if_smaller: bool = False) -> None:
        """Remember a checkpoint in place of a smaller one of the same log.

        Raises:
            OSError: it cannot be written.
        """
        path = self._folder / f"{_digest(seen.origin, seen.key_id)}.json"
        before = _read(path)
        if before is not None and before.size > seen.size and not even_if_smaller:
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # `mkstemp` creates the file with mode 0600; it replaces the old one as a whole, so that no reader sees half.
        descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=self._folder)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(asdict(seen), file)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


def state_folder(environ: Mapping[str, str], *, platform: str = sys.platform, home: Path | None = None) -> Path:
    """Return where the command keeps what it remembers for its user.

    `$XDG_STATE_HOME/nodus`, by default `~/.local/state/nodus` (XDG Base Directory Specification); on Windows,
    `%LOCALAPPDATA%\\nodus`.

    Args:
        environ: the environment variables.
        platform: as `sys.platform`.
        home: the user's home folder; the process's by default.

    Raises:
        RuntimeError: the user has no home folder.
    """
    base = environ.get("LOCALAPPDATA" if platform == "win32" else "XDG_STATE_HOME")
    # The specification says that a relative path is to be ignored.
    if base and os.path.isabs(base):
        return Path(base, "nodus")
    return (Path.home() if home is None else home).joinpath(".local", "state", "nodus")


def predecessor(seen: SeenCheckpoint, remembered: list[SeenCheckpoint]) -> SeenCheckpoint | None:
    """Return the checkpoint that a new one must continue; None if there is none.

    It is that of the same log and key; else, of another key that this address showed for it. On loopback, control
    planes come and go at one address, and another key there means another control plane.
    """
    same_key = [each for each in remembered if each.key_id == seen.key_id]
    if same_key:
        return max(same_key, key=lambda each: each.size)
    if is_loopback(urlsplit(seen.base_url).hostname or ""):
        return None
    return max(
        (each for each in remembered if each.base_url == seen.base_url), key=lambda each: each.size, default=None
    )


def require_continuation(before: SeenCheckpoint, seen: SeenCheckpoint, proof: ConsistencyProof | None) -> None:
    """Require that a log goes on from the checkpoint that was seen before.

    Args:
        before: the checkpoint that was seen before.
        seen: the new one.
        proof: that the one begins with the other; None if that needs no proof, or if the log shrank.

    Raises:
        LedgerError: `ledger_truncated`: it has fewer rows; `ledger_history_rewritten`, `ledger_proof_invalid`: it does
            not begin with the rows that it had.
    """
    if seen.size < before.size:
        raise LedgerError(
            f"The ledger went back from {before.size} to {seen.size} rows: the later rows, which this machine has seen "
            f"signed, are gone. A backup may have been restored, or rows were removed: ask the operator. {_ACCEPT}",
            code="ledger_truncated",
        )
    try:
        verify_consistency(before.note, seen.note, {"hashes": [] if proof is None else proof.hashes})
    except LedgerError as exc:
        raise LedgerError(
            f"The ledger does not begin with the {before.size} rows that this machine has seen signed: {exc.message} "
            f"{_ACCEPT}",
            code=exc.code,
        ) from exc


_ACCEPT = "To accept it as it is now: nodus ledger verify --accept-rollback"


async def compare_with_last(
    invocation: Invocation, client: AsyncClient, checkpoint: LedgerCheckpoint, *, accept: bool = False
) -> int | None:
    """Compare a checkpoint with the last one that this machine saw of the same log, and remember it.

    A folder that cannot be read or written is a warning: it is no fault of the ledger.

    Args:
        invocation: where to warn.
        client: asks for the proof that the log goes on.
        checkpoint: the checkpoint of now.
        accept: whether to remember it even if it does not continue the last one.

    Returns:
        The size of the checkpoint that it continues; None if none was seen, or if `accept` made it unimportant.

    Raises:
        LedgerError: the log does not go on from there; `require_continuation` says how.
        NodusError: the proof cannot be had.
    """
    seen = SeenCheckpoint.of(checkpoint.note, invocation.base_url)
    before: SeenCheckpoint | None = None
    with _warning(invocation):
        store = CheckpointStore(state_folder(os.environ))
        if not accept:
            before = predecessor(seen, store.load(seen.origin))
    if before is not None:
        require_continuation(before, seen, await _proof(client, before, seen))
        if before.key_id != seen.key_id:
            invocation.output.note(
                f"The ledger goes on, but under another key than before ({seen.key_id}, before {before.key_id}): ask "
                "its operator whether the key was replaced, and pin the new one."
            )
    with _warning(invocation):
        CheckpointStore(state_folder(os.environ)).save(seen, even_if_smaller=accept)
    return None if before is None else before.size


async def _proof(client: AsyncClient, before: SeenCheckpoint, seen: SeenCheckpoint) -> ConsistencyProof | None:
    if not 0 < before.size < seen.size:
        return None
    return await client.ledger.consistency(before.size, seen.size)


@contextlib.contextmanager
def _warning(invocation: Invocation) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as exc:
        invocation.output.note(
            f"The last checkpoint cannot be remembered on this machine ({exc}), so a later loss of rows would go "
            "unnoticed: keep it in a file, and pass it to `nodus ledger verify --known`."
        )


def _read(path: Path) -> SeenCheckpoint | None:
    """Read a checkpoint that was kept; None if it is not there, or damaged."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return SeenCheckpoint.of(fields["note"], str(fields["base_url"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, NodusError):
        return None


def _digest(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _key_id(note: str, origin: str) -> str:
    """Return the identifier of the key that signed a note under its origin's name (C2SP signed-note)."""
    for line in note.rpartition("\n\n")[2].split("\n"):
        name, _, signature = line.removeprefix(_SIGNATURE_LINE).rpartition(" ")
        if line.startswith(_SIGNATURE_LINE) and name == origin:
            with contextlib.suppress(binascii.Error, ValueError):
                return base64.b64decode(signature, validate=True)[:4].hex()
    return ""
