"""The batch script of an attempt: a POSIX shell script, which the cluster may run several times, late, or in part.

Whatever Slurm does, the program runs at most once, because three records can be made only once each, by a hard link:

=========== ===========================================================================================================
`claim`     `run TOKEN SLURM_JOB HOST` by the first copy of the script, or `withdrawn TIME` by the control plane. Every
            other copy ends without a trace.
`started`   `run TOKEN TIME UPTIME` just before the program, or `never` by the control plane, which gave up a claim that
            nothing came of: whoever had it, and wakes up later, starts nothing any more.
`ended`     `REASON STATUS TIME CENTISECONDS` by the script, or `lost` by the control plane. What the first says, holds.
=========== ===========================================================================================================

`alive` is rewritten every 10 s; a program whose script could not do that for 60 s is ended. Writing may hang with the
file system, so another process watches, which looks at nothing but the node's own memory and clock.

A shell, because every node of a cluster surely has one; beside it, GNU coreutils and `setsid`. Lengths are read from
`/proc/uptime`, which nobody sets: a step of the node's clock moves an interval, and does not stretch it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ...runner.specification import SILENT_SECONDS

OUTPUT_LIMIT_BYTES = 64 * 1024 * 1024
OUTPUT_BLOCK_BYTES = 512
"""The unit of `ulimit -f` in a POSIX shell."""

KILL_AFTER_SECONDS = 5
STOP_SECONDS = 60
"""How long the operator's `stop_command` may take."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How the script shows that it lives, in seconds.

    Attributes:
        alive_seconds: how often it does.
        silent_seconds: for how long it may be unable to, before it ends the program.
    """

    alive_seconds: int = 10
    silent_seconds: int = int(SILENT_SECONDS)


def quote(word: str) -> str:
    """Return a word as a shell reads it back, whatever it holds."""
    return "'" + word.replace("'", "'\\''") + "'"


def secret_text(command: Iterable[str], env: Mapping[str, str]) -> str:
    """Return what the script evaluates last: the variables, and the words of the command after those that are there."""
    exports = [f"export {name}={quote(value)}" for name, value in env.items()]
    return "\n".join([*exports, " ".join(["set --", '"$@"', *map(quote, command)])])


def batch_script(
    *,
    folder: str,
    limit_seconds: int,
    gpu_count: int,
    stop_command: Iterable[str] = (),
    pace: Pace | None = None,
    output_limit_bytes: int = OUTPUT_LIMIT_BYTES,
) -> str:
    """Return the script of an attempt. It holds no secret: these are in the file `secret`, which it empties.

    Args:
        folder: the attempt's own.
        limit_seconds: how long the program may run.
        gpu_count: how many GPUs it must have been given; without them it is not started.
        stop_command: the words of what runs after the end.
        pace: how it shows that it lives.
        output_limit_bytes: how much of the output is kept; a multiple of 512.
    """
    pace = pace or Pace()
    stop = " ".join(map(quote, stop_command))
    values = {
        "@FOLDER@": quote(folder),
        "@LIMIT@": str(limit_seconds),
        "@GPUS@": str(gpu_count),
        "@STOP@": f'"$timeout" --kill-after=5 {STOP_SECONDS} {stop} </dev/null >/dev/null 2>&1' if stop else ":",
        "@ALIVE@": str(pace.alive_seconds),
        "@SILENT@": str(pace.silent_seconds * 100),
        "@BLOCKS@": str(output_limit_bytes // OUTPUT_BLOCK_BYTES),
        "@MARKER@": f"[output over {output_limit_bytes} bytes was not kept]",
        "@KILL_AFTER@": str(KILL_AFTER_SECONDS),
    }
    text = _SCRIPT
    for place, value in values.items():
        text = text.replace(place, value)
    return text


_SCRIPT = r"""#!/bin/sh
# One attempt of a job of Nodus. The first copy of this that gets the claim runs the program; every other ends at once.
umask 077
cd @FOLDER@ || exit 1
if [ -e claim ] || [ -e ended ]; then exit 0; fi
timeout=$(command -v timeout) && setsid=$(command -v setsid) || exit 1

tick() { read -r up _ </proc/uptime; now="${up%.*}${up#*.}"; }

# once FILE WORDS: make a record unless it is there; say whether it is ours. The answer of `ln` may be lost on a network
# file system, so what counts is what the record says afterwards.
once() {
    record=$1; shift
    printf '%s\n' "$*" >"$record.$token" || return 1
    ln "$record.$token" "$record" 2>/dev/null
    rm -f "$record.$token"
    IFS= read -r held <"$record" && [ "$held" = "$*" ]
}

alive() { tick; printf '%s\n' "$now" >alive && printf '%s\n' "$now" >"$local/alive"; }

tick
token="${SLURM_JOB_ID:-0}.$$.$now"
once claim "run $token ${SLURM_JOB_ID:-0} $(uname -n)" || exit 0

local=$(mktemp -d) || exit 1
trap 'rm -rf "$local"' EXIT
alive
command -v mkfifo >/dev/null && mkfifo "$local/out" || exit 1

given=${SLURM_GPUS_ON_NODE:-}
if [ -z "$given" ]; then
    given=0
    if [ -n "${SLURM_JOB_GPUS:-}" ]; then given=$(printf '%s\n' "$SLURM_JOB_GPUS" | tr , '\n' | wc -l); fi
fi
if [ "$given" -lt @GPUS@ ]; then once started never; once ended "no_gpus 0 $(date +%s.%N) 0"; : >secret; exit 0; fi
if [ ! -s secret ]; then once started never; once ended "no_secret 0 $(date +%s.%N) 0"; exit 0; fi

asked=
passed=
program=
pass_on() {
    asked=yes
    if [ -n "$program" ] && [ -z "$passed" ]; then passed=yes; kill -s TERM "$program" 2>/dev/null; fi
}
trap pass_on TERM

keep() {
    trap '' TERM
    (ulimit -f @BLOCKS@; exec cat) <&3 >output 2>/dev/null &
    printf '%s\n' $! >"$local/keeper"
    wait $!
    kept=$?
    if [ "$kept" -ge 128 ]; then printf '\n%s\n' '@MARKER@' >>output
    elif [ "$kept" -ne 0 ]; then printf '\n[output could not be written]\n' >>output 2>/dev/null
    fi
    cat <&3 >/dev/null
    : >"$local/kept"
}

began=$(date +%s.%N)
tick; first=$now
once started "run $token $began $first" || exit 0
if [ -n "$asked" ]; then once ended "cancelled 143 $began 0"; : >secret; exit 0; fi
keep 3<"$local/out" &
keep=$!

# In a group of its own, of which TERM reaches the program alone, once: without --foreground it would come twice.
# The job's variables may have any name, so nothing that this script needs is looked up after they are set.
(
    trap - TERM
    secret=$(cat secret) && : >secret && cd work || exit 1
    set -- "$setsid" "$timeout" --foreground --signal=TERM --kill-after=@KILL_AFTER@ @LIMIT@
    eval "$secret"
    exec "$@"
) </dev/null >"$local/out" 2>&1 &
program=$!
if [ -n "$asked" ]; then pass_on; fi

show_life() {
    trap '' TERM
    told=
    while :; do
        alive
        looks=0
        while [ "$looks" -lt @ALIVE@ ]; do
            sleep 1
            if [ -e ended ]; then kill -s KILL -- "-$program" "$program" 2>/dev/null; exit 0; fi
            if [ -z "$told" ] && [ -e cancel ]; then told=yes; kill -s TERM $$; fi
            looks=$((looks + 1))
        done
    done
}
show_life </dev/null >/dev/null 2>&1 &
life=$!

guard() {
    trap '' TERM
    while sleep 1; do
        if ! kill -0 $$ 2>/dev/null; then
            kill -s KILL -- "-$program" "$program" "$life" 2>/dev/null
            @STOP@
            exit 0
        fi
        tick
        read -r last <"$local/alive" || continue
        if [ $((now - last)) -gt @SILENT@ ]; then
            : >"$local/silent"
            kill -s TERM "$program" 2>/dev/null
            sleep @KILL_AFTER@
            kill -s KILL -- "-$program" "$program" 2>/dev/null
        fi
    done
}
guard </dev/null >/dev/null 2>&1 &
guard=$!

# A signal ends `wait` before the program has ended. Of one that has, there is nothing left to signal.
while :; do
    wait "$program"
    status=$?
    kill -0 "$program" 2>/dev/null || break
done
tick; length=$((now - first))
passed=yes

decide() {
    reason=exited
    if [ -e "$local/silent" ]; then reason=silent
    elif [ -n "$asked" ]; then if [ -e cancel ]; then reason=cancelled; else reason=signalled; fi
    elif [ "$length" -ge $((@LIMIT@ * 100)) ]; then case $status in 124|137) reason=limit ;; esac
    fi
}

# Slurm ends the program and this shell one after the other, and on a busy node it takes a moment from one to the next.
patience=10
if [ "$status" -eq 143 ]; then patience=50; fi
decide
while [ "$status" -ne 0 ] && [ "$reason" = exited ] && [ "$patience" -gt 0 ]; do
    sleep 0.1
    patience=$((patience - 1))
    decide
done

# What the program left behind has a second to finish, and what goes on printing is not waited for.
waited=0
while [ ! -e "$local/kept" ] && [ "$waited" -lt 50 ]; do
    if [ "$waited" -eq 10 ]; then kill -s KILL -- "-$program" 2>/dev/null; fi
    sleep 0.1
    waited=$((waited + 1))
done
kill -s KILL -- "-$program" 2>/dev/null
if [ ! -e "$local/kept" ]; then kill -s KILL "$keep" "$(cat "$local/keeper")" 2>/dev/null; fi
@STOP@
kill -s KILL "$guard" "$life" 2>/dev/null
once ended "$reason $status $began $length"
exit 0
"""
