"""The records of attempts, as values: what `script.py` and the control plane write on the shared file system. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

END = "end of records"

_TICKS = re.compile(r"[0-9]{1,15}")
_TIME = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended.

    Attributes:
        reason: `exited`, `limit`, `cancelled`, `signalled`, `silent`, `no_gpus`, `no_secret`, `lost`, `not_started`.
        status: the exit status as a shell gives it: 128 and more for a signal.
        began_at: when the program began, by the clock of its node.
        seconds: how long it ran, by a clock that nobody sets.
    """

    reason: str
    status: int
    began_at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Silence:
    """For how long a script was not heard of, by a clock of whoever noted it.

    Attributes:
        sign: the last sign of life, which there has been no other since; empty for none at all.
        seconds: how long it stood there at least.
    """

    sign: str = ""
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """How it is noted."""
        return f"{round(self.seconds * 100)} {self.sign}"


@dataclass(frozen=True, slots=True)
class Records:
    """What is on record of an attempt. What cannot be read as such was not written by us, and counts as missing.

    Attributes:
        is_claimed: a copy of the script has it.
        withdrawn_at: when the control plane took it, so that no copy ever runs it.
        started_at: when its program began, by the clock of its node.
        alive: changes for as long as its script lives.
        lived_seconds: from the program's start to its script's last sign of life, by a clock that nobody sets.
        unheard: what the control plane noted of the script when it was not heard of.
        ended: how it ended.
    """

    is_claimed: bool = False
    withdrawn_at: float | None = None
    started_at: float | None = None
    alive: str = ""
    lived_seconds: float = 0.0
    unheard: Silence = Silence()
    ended: Ended | None = None


def parse_records(said: str) -> dict[str, Records] | None:
    """Read what is on record of several attempts, by their names; None where the answer is not a whole one."""
    lines = said.split("\n")
    while lines and not lines[-1]:
        lines.pop()
    if not lines or lines.pop() != END:
        return None
    found: dict[str, dict[str, str]] = {}
    for line in lines:
        name, _, rest = line.partition(" ")
        record, _, text = rest.partition(" ")
        found.setdefault(name, {})[record] = text
    return {name: read_records(texts) for name, texts in found.items()}


def read_records(texts: Mapping[str, str]) -> Records:
    """Read the records of one attempt from the first line of each."""
    claim, started = texts.get("claim", "").split(), texts.get("started", "").split()
    # A claim that is there and cannot be read is somebody's all the same: nobody else will run it.
    is_withdrawn = claim[:1] == ["withdrawn"]
    return Records(
        is_claimed="claim" in texts and not is_withdrawn,
        withdrawn_at=_time(claim[1:2]) or 0.0 if is_withdrawn else None,
        started_at=_time(started[2:3]) if started[:1] == ["run"] else None,
        alive=texts.get("alive", ""),
        lived_seconds=_lived_seconds(started, texts.get("alive", "")),
        unheard=_silence(texts.get("unheard", "")),
        ended=_ended(texts.get("ended", "").split()),
    )


def is_sign(text: str) -> bool:
    """Whether a script wrote this as a sign of life, or nothing yet; anything else is not handed on."""
    return not text or _TICKS.fullmatch(text) is not None


def _ended(words: list[str]) -> Ended | None:
    if len(words) != 4 or not words[1].isdigit() or not words[3].isdigit():
        return None
    began_at = _time(words[2:3])
    if began_at is None or len(words[1]) > 3 or len(words[3]) > 15:
        return None
    return Ended(words[0], int(words[1]), began_at, int(words[3]) / 100)


def _silence(text: str) -> Silence:
    ticks, _, sign = text.partition(" ")
    return Silence(sign, int(ticks) / 100) if _TICKS.fullmatch(ticks) and is_sign(sign) else Silence()


def _lived_seconds(started: list[str], alive: str) -> float:
    """Both end with the node's uptime, in hundredths of a second."""
    first = started[3] if len(started) == 4 and started[0] == "run" else ""
    if not _TICKS.fullmatch(first) or not _TICKS.fullmatch(alive):
        return 0.0
    return max(0, int(alive) - int(first)) / 100


def _time(words: list[str]) -> float | None:
    return float(words[0]) if words and _TIME.fullmatch(words[0]) else None
