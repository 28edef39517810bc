"""What is run where Slurm's commands are: a shell script for each question, with a class that asks it.

Arguments come as arguments and secrets as input, so that nothing is ever read as part of a script. Each of them may be
repeated, and may be cut off at any point.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..protocol import CapacityRefused, EngineUnavailable
from . import queue, records
from .queue import Queue, Refusal
from .records import Records, Silence
from .transport import Outcome, Transport

_logger = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
ASK_SECONDS = 25.0
"""A controller that is down lets its clients wait for 18 s before they say so."""

_NO_FOLDER = 74
_NOT_THERE = "the folder on the cluster's shared file system is not there, or is another one: is that mounted?"

# Makes nothing: where the shared file system is not mounted, there is another folder of that name, or none, and what is
# not found there was not taken away. What follows is done where this has entered, whatever is mounted meanwhile.
_ENTER_ALL = r"""
umask 077
cd "$1/attempts" 2>/dev/null || exit 74
[ "$(cat ../identity 2>/dev/null)" = "$2" ] || exit 74
shift 2
"""
# An attempt's folder stands below `attempts`, under its name.
_ENTER = r"""
umask 077
cd "$1/attempts/$2" 2>/dev/null || exit 74
"""
_ONCE = r"""
once() {
    record=$1; shift
    printf '%s\n' "$*" >"$record.new.$$" || exit 73
    ln "$record.new.$$" "$record" 2>/dev/null
    rm -f "$record.new.$$"
    [ -e "$record" ] || exit 73
}
"""
_WITHDRAW = (
    _ENTER_ALL
    + r"""
mkdir -p "$1" && cd "$1" || exit 73
"""
    + _ONCE
    + r"""
once claim "withdrawn $(date +%s.%N)"
IFS= read -r held <claim
case $held in withdrawn*) : >secret; rm -f secret.new.* ;; esac
"""
)

# A connection that breaks off cuts its input short: only a whole secret is one. Its name is given once, and whoever has
# no more use of it empties the file and leaves it there: a starter that comes late cannot bring it back.
_PREPARE = (
    _ENTER_ALL
    + r"""
mkdir -p "$1" && cd "$1" || exit 73
owner=$2; script=$3
if [ -e claim ]; then exit 0; fi
mkdir -p work || exit 73
put() { cat >"$1.new.$$" && mv -f "$1.new.$$" "$1" || exit 73; }
cat >"secret.new.$$" || exit 73
if [ "$(wc -c <"secret.new.$$")" -ne "$4" ]; then rm -f "secret.new.$$"; exit 73; fi
ln "secret.new.$$" secret 2>/dev/null
rm -f "secret.new.$$"
[ -e secret ] || exit 73
printf '%s' "$script" | put script || exit 73
if [ ! -e attempt ]; then printf '%s %s\n' "$owner" "$(date +%s)" | put attempt || exit 73; fi
"""
)

_START = (
    _ENTER
    + r"""
shift 2
if [ -e claim ]; then exit 0; fi
if [ -s submitted ]; then cat submitted; exit 0; fi
said=$(env -i PATH="$PATH" HOME="$HOME" ${SLURM_CONF:+SLURM_CONF="$SLURM_CONF"} LANG=C.UTF-8 \
    USER="$(id -un)" LOGNAME="$(id -un)" sbatch "$@" script) || exit 75
printf '%s\n' "$said" >submitted.new.$$ && mv -f submitted.new.$$ submitted
printf '%s\n' "$said"
"""
)

_CANCEL = (
    _WITHDRAW
    + r"""
case $held in
withdrawn*) timeout 10 scancel --user="$(id -un)" --name="$1" >/dev/null 2>&1; exit 0 ;;
esac
if [ -e ended ]; then exit 0; fi
: >cancel
if [ ! -e told ]; then
    timeout 10 scancel --user="$(id -un)" --batch --signal=TERM --state=RUNNING --name="$1" && : >told
elif [ -n "$(find told -mmin +1)" ]; then
    timeout 10 scancel --user="$(id -un)" --name="$1"
fi
"""
)

_END_ALL = r"""
scancel --user="$(id -un)" --name="$1"
"""

_GIVE_UP = (
    _ENTER
    + _ONCE
    + r"""
if [ ! -e ended ]; then
    once started "never"
    IFS= read -r held <started
    reason=$3
    if [ -e cancel ]; then reason=cancelled; fi
    case $held in
    never*) once ended "not_started 0 $(date +%s.%N) 0" ;;
    *) once ended "$reason 0 $4 $5" ;;
    esac
    : >secret
    rm -f secret.new.*
fi
"""
)

_NOTE = (
    _ENTER_ALL
    + r"""
cd "$1" || exit 74
printf '%s\n' "$2" >"unheard.new.$$" && mv -f "unheard.new.$$" unheard || exit 73
"""
)

_LOOK = (
    _ENTER_ALL
    + r"""
while IFS= read -r name; do
    for record in claim started alive unheard ended; do
        if [ -e "$name/$record" ] && line= && { IFS= read -r line <"$name/$record" || :; } 2>/dev/null; then
            printf '%s %s %s\n' "$name" "$record" "$line"
        fi
    done
done
printf '%s\n' 'end of records'
"""
)

_QUEUE = r"""
squeue --user="$(id -un)" --noheader --states=all --format="$1" && printf '%s\n' 'end of queue'
"""

_FORGET = (
    _WITHDRAW
    + r"""
for left in * .[!.]*; do
    case $left in claim | started | ended | output | attempt | secret) ;; *) rm -rf "./$left" ;; esac
done
: >secret
rm -f attempt
"""
)

_LIST = (
    _ENTER_ALL
    + r"""
for name in nodus-*; do
    if [ -e "$name/attempt" ]; then
        owner= held= ended=no
        { IFS= read -r owner <"$name/attempt"; IFS= read -r held <"$name/claim"; } 2>/dev/null
        if [ -e "$name/ended" ]; then ended=yes; fi
        printf '%s %s %s %s\n' "$name" "$ended" "${held%% *}" "$owner"
    fi
done
printf '%s\n' 'end of attempts'
"""
)

_LOGS = (
    _ENTER
    + r"""
ended=no
if [ -e ended ]; then ended=yes; fi
if [ -e claim ] && IFS= read -r held <claim; then case $held in withdrawn*) ended=yes ;; esac; fi
if [ ! -e output ]; then printf '0 %s\n' "$ended"; exit 0; fi
printf '%s %s\n' "$(wc -c <output)" "$ended"
tail -c "+$(($3 + 1))" output | head -c "$4"
"""
)

_MARK = (
    r"""
umask 077
mkdir -p "$1/attempts" && cd "$1" || exit 73
"""
    + _ONCE
    + r"""
if [ ! -s identity ]; then once identity "$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')"; fi
"""
)
_READ_MARK = _MARK + "cat identity"
# Makes nothing either: see `_ENTER_ALL`.
_IDENTITY = r"""
cd "$1/attempts" 2>/dev/null && [ -s ../identity ] || exit 74
cluster=$(scontrol show config) || exit 75
printf '%s\n' "$cluster" | sed -n 's/^ClusterName *= *//p'
cat ../identity
"""
_FIRST_IDENTITY = _MARK + _IDENTITY

_CONFIGURATION = r"""
umask 077
scontrol show config && printf '%s\n' 'end of configuration' || exit 75
"""

_PARTITION = r"""
if [ -n "$1" ]; then set -- --partition="$1"; else set --; fi
sinfo --noheader --format='%P|%a|%l|%D|%G' "$@" && printf '%s\n' 'end of partitions'
"""


@dataclass(frozen=True, slots=True)
class Listed:
    """An attempt whose folder holds something, as `Cluster.list_attempts` found it."""

    name: str
    is_ended: bool
    is_claimed: bool
    incarnation: str
    created_at: float


@dataclass(frozen=True, slots=True)
class Output:
    """A part of what an attempt printed; `total` is how much there is by now."""

    data: bytes
    total: int
    is_final: bool


class Cluster:
    """Slurm's commands, and the folder on the file system that login nodes and compute nodes share.

    Every method raises `EngineUnavailable` where there is no answer that counts.

    Args:
        transport: where the commands are.
        folder: on the shared file system.
    """

    def __init__(self, transport: Transport, folder: str) -> None:
        self._transport = transport
        self.folder = folder
        self._lock = threading.Lock()
        self._mark: str | None = None
        self._is_used = False

    def folder_of(self, name: str) -> str:
        """Return the folder of an attempt."""
        return f"{self.folder.rstrip('/')}/attempts/{name}"

    def prepare(self, name: str, *, incarnation: str, script: str, secret: str) -> None:
        """Put everything into an attempt's folder that its script needs, unless it was claimed already."""
        given = secret.encode()
        arguments = [*self._marked(), name, incarnation or "-", script, str(len(given))]
        self._require(self._transport.run(_PREPARE, arguments, seconds=LOOK_SECONDS, given=given))

    def start(self, name: str, options: Sequence[str]) -> str | None:
        """Give the script to Slurm, unless that was done before; return Slurm's id, None where it was claimed.

        Raises:
            CapacityRefused: Slurm does not take it.
        """
        outcome = self._transport.run(_START, [self.folder, name, *options], seconds=ASK_SECONDS)
        if outcome.status == 75:
            refusal = queue.classify_refusal(outcome.complaint)
            if refusal is Refusal.UNREACHABLE:
                raise EngineUnavailable("the cluster's controller does not answer")
            reason = "has no room in its limits" if refusal is Refusal.FULL else "does not take such a job"
            _logger.warning("sbatch refused %s: %s", name, _last_line(outcome.complaint))
            raise CapacityRefused(f"the cluster {reason}")
        self._require(outcome)
        return queue.parse_submitted(outcome.text)

    def cancel(self, name: str) -> None:
        """Take the attempt, so that it never runs; if it runs already, have its script end it."""
        self._require(self._transport.run(_CANCEL, [*self._marked(), name], seconds=ASK_SECONDS))

    def end_all(self, name: str) -> None:
        """Have Slurm end every job of a name, the script included."""
        self._require(self._transport.run(_END_ALL, [name], seconds=ASK_SECONDS))

    def withdraw(self, name: str) -> None:
        """Take the attempt, so that it never runs, unless somebody has it."""
        self._require(self._transport.run(_WITHDRAW, [*self._marked(), name], seconds=LOOK_SECONDS))

    def give_up(self, name: str, reason: str, began_at: float, seconds: float) -> None:
        """Record the end of an attempt whose script is not heard of: of one that had not begun, that it never will."""
        arguments = [self.folder, name, reason, f"{began_at:.2f}", str(round(seconds * 100))]
        self._require(self._transport.run(_GIVE_UP, arguments, seconds=LOOK_SECONDS))

    def note_silence(self, name: str, silence: Silence) -> None:
        """Have whoever looks at the attempt next know for how long nothing was heard of its script."""
        arguments = [*self._marked(), name, silence.text]
        self._require(self._transport.run(_NOTE, arguments, seconds=LOOK_SECONDS))

    def look(self, names: Iterable[str]) -> dict[str, Records]:
        """Return what is on record of these attempts; of one that is missing there is nothing."""
        given = "".join(f"{name}\n" for name in names).encode()
        outcome = self._transport.run(_LOOK, self._marked(), seconds=LOOK_SECONDS, given=given)
        self._require(outcome)
        found = records.parse_records(outcome.text)
        if found is None:
            raise EngineUnavailable("the cluster's shared file system gave half an answer")
        return found

    def queue(self) -> Queue:
        """Return everything that Slurm has of our user."""
        outcome = self._transport.run(_QUEUE, [queue.FORMAT], seconds=ASK_SECONDS)
        found = queue.parse_queue(outcome.text) if outcome.status == 0 else None
        if found is None:
            raise EngineUnavailable("the cluster's controller does not answer")
        return found

    def forget(self, name: str) -> None:
        """Remove everything of an attempt but its output, and the records by which no late copy of it ever runs."""
        self._require(self._transport.run(_FORGET, [*self._marked(), name], seconds=ASK_SECONDS))

    def list_attempts(self) -> list[Listed]:
        """Return the attempts that were not forgotten, whoever's they are."""
        outcome = self._transport.run(_LIST, self._marked(), seconds=ASK_SECONDS)
        self._require(outcome)
        lines = outcome.text.splitlines()
        if not lines or lines.pop() != "end of attempts":
            raise EngineUnavailable("the cluster's shared file system gave half an answer")
        return [_listed(line.split(" ")) for line in lines]

    def output(self, name: str, offset: int, limit: int) -> Output:
        """Return a part of what an attempt printed."""
        arguments = [self.folder, name, str(offset), str(limit)]
        outcome = self._transport.run(_LOGS, arguments, seconds=LOOK_SECONDS)
        if outcome.status == _NO_FOLDER:
            return Output(b"", 0, is_final=False)
        self._require(outcome)
        head, _, data = outcome.output.partition(b"\n")
        size, _, ended = head.decode("ascii", errors="replace").partition(" ")
        if not size.isdigit():
            raise EngineUnavailable("the cluster's shared file system gave half an answer")
        return Output(data, max(int(size), offset + len(data) if data else 0), is_final=ended == "yes")

    def identity(self) -> tuple[str, str]:
        """Return the cluster's name, and what a random file in the folder holds, which is made at the first question.

        Once anything was asked or done in the folder, no other one is taken for it: one that has another file, or none,
        stands where the shared file system is not mounted, and would know nothing of the attempts.
        """
        with self._lock:
            script = _FIRST_IDENTITY if self._mark is None else _IDENTITY
        outcome = self._transport.run(script, [self.folder], seconds=ASK_SECONDS)
        if outcome.status == _NO_FOLDER:
            raise EngineUnavailable(_NOT_THERE)
        lines = outcome.text.split()
        if outcome.status != 0 or len(lines) != 2:
            raise EngineUnavailable("the cluster cannot say which one it is")
        name, mark = lines
        with self._lock:
            if self._is_used and mark != self._mark:
                raise EngineUnavailable(_NOT_THERE)
            self._mark = mark
        return name, mark

    def configuration(self) -> str:
        """Return Slurm's configuration as it prints it."""
        outcome = self._transport.run(_CONFIGURATION, [], seconds=ASK_SECONDS)
        if outcome.status != 0:
            raise EngineUnavailable("the cluster's controller does not answer")
        return outcome.text

    def partitions(self, partition: str | None) -> str | None:
        """Return what Slurm says of a partition, or all: name, state, time limit, nodes, GPUs; None for an error.

        The name of the default one has a star after it.
        """
        outcome = self._transport.run(_PARTITION, [partition or ""], seconds=ASK_SECONDS)
        lines = outcome.text.splitlines()
        return "\n".join(lines[:-1]) if outcome.status == 0 and lines[-1:] == ["end of partitions"] else None

    def _marked(self) -> list[str]:
        """Return the folder, and what its random file holds, by which it is known again from now on."""
        with self._lock:
            if self._mark is None:
                outcome = self._transport.run(_READ_MARK, [self.folder], seconds=LOOK_SECONDS)
                self._require(outcome)
                self._mark = outcome.text.strip()
            self._is_used = True
            return [self.folder, self._mark]

    @staticmethod
    def _require(outcome: Outcome) -> None:
        if outcome.status == _NO_FOLDER:
            raise EngineUnavailable(_NOT_THERE)
        if outcome.status != 0:
            _logger.warning("a command failed on a cluster: %s", _last_line(outcome.complaint))
            raise EngineUnavailable("a command failed on the cluster; the control plane's log has its message")


def _listed(words: list[str]) -> Listed:
    name, ended, held, incarnation, created = (words + [""] * 5)[:5]
    return Listed(
        name,
        is_ended=ended == "yes",
        is_claimed=held == "run",
        incarnation="" if incarnation == "-" else incarnation,
        created_at=float(created) if created.isdigit() else 0.0,
    )


def _last_line(text: str) -> str:
    return text.splitlines()[-1][:200] if text else "no message"
