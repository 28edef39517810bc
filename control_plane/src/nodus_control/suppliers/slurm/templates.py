"""What a cluster runs for a job: the operator's template, with the job's words in their places. Pure.

A template is a list of words, and stays one: nothing of a job is ever read by a shell. The job's own command comes
after the template's last word, so that it replaces the image's CMD and leaves its ENTRYPOINT.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from nodus_core.suppliers_file import SlurmOptions, gives_gpus

from ..protocol import SubmissionRefused, Workload

ENV = "{env}"
_PLACES = re.compile(r"\{(?:work|image)\}")

# Set by Slurm for each job. A program that could set them would take GPUs that others were given.
GIVEN_BY_THE_CLUSTER = ("CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")

# What a POSIX shell, or bash, keeps for itself: such a variable cannot be handed on with just any value.
_KEPT_BY_SHELLS = frozenset(
    [
        *("BASH", "BASHOPTS", "BASHPID", "BASH_ARGC", "BASH_ARGV", "BASH_ARGV0", "BASH_CMDS", "BASH_COMMAND"),
        *("BASH_ENV", "BASH_LINENO", "BASH_REMATCH", "BASH_SOURCE", "BASH_SUBSHELL", "BASH_VERSINFO", "BASH_VERSION"),
        *("COMP_WORDBREAKS", "DIRSTACK", "EPOCHREALTIME", "EPOCHSECONDS", "EUID", "FUNCNAME", "FUNCNEST", "GROUPS"),
        *("HISTCMD", "HOSTTYPE", "IFS", "LINENO", "MACHTYPE", "OLDPWD", "OPTARG", "OPTERR", "OPTIND", "OSTYPE"),
        *("PIPESTATUS", "POSIXLY_CORRECT", "PPID", "PS4", "PWD", "RANDOM", "SECONDS", "SHELLOPTS", "SHLVL"),
        *("SRANDOM", "UID", "_"),
    ]
)
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def command_of(options: SlurmOptions, workload: Workload, *, work: str) -> tuple[str, ...]:
    """Return the words that run a job's image with its command.

    Args:
        options: where the templates are.
        workload: the job.
        work: the attempt's own folder, which `{work}` stands for.

    Raises:
        SubmissionRefused: `cannot_run` where no template can run the image, or gives it GPUs; `command_required` where
            nothing would be left to run; `invalid_command` for words and variables that cannot be handed on.
    """
    require_acceptable(workload)
    command = workload.command or ()
    if workload.image in options.images:
        words = (*options.images[workload.image], *command)
        if not words:
            raise SubmissionRefused(
                "command_required", "this image stands for no program of its own here: give the job a command"
            )
        return words
    if not options.image_command:
        raise SubmissionRefused(
            "cannot_run",
            "this supplier runs no containers, and the image is not among those that it knows: choose one of its "
            "images, or another supplier",
        )
    if workload.gpu_count and not gives_gpus(options.image_command):
        raise SubmissionRefused(
            "cannot_run",
            "this supplier's containers are given no GPU, and the job asks for one: choose another supplier",
        )
    names = (*workload.env, *GIVEN_BY_THE_CLUSTER)
    return (*fill(options.image_command, image=workload.image, work=work, names=names), *command)


def fill(template: Iterable[str], *, image: str, work: str, names: Iterable[str] = ()) -> tuple[str, ...]:
    """Return a template's words with `{image}` and `{work}` replaced, and `{env}` as one `--env=NAME` for each name."""
    places: Mapping[str, str] = {"{image}": image, "{work}": work}
    words: list[str] = []
    for word in template:
        if word == ENV:
            words += [f"--env={name}" for name in names]
        else:
            # In one pass: an image called `{work}` stays one.
            words.append(_PLACES.sub(lambda found: places[found.group()], word))
    return tuple(words)


def require_acceptable(workload: Workload) -> None:
    """Refuse what cannot be handed on as it is, without quoting a value.

    Raises:
        SubmissionRefused: `invalid_command`.
    """
    for part in (*(workload.command or ()), *workload.env.values()):
        if "\0" in part:
            raise SubmissionRefused("invalid_command", "command or env holds a NUL character")
        try:
            part.encode()
        except UnicodeEncodeError:
            message = "command or env holds a character that has no encoding"
            raise SubmissionRefused("invalid_command", message) from None
    if workload.command is not None and (not workload.command or not workload.command[0]):
        raise SubmissionRefused("invalid_command", "the first word of command is empty")
    for name in workload.env:
        if not _IDENTIFIER.fullmatch(name):
            raise SubmissionRefused(
                "invalid_command",
                "env holds a name that this supplier cannot hand on: use letters, digits and `_`, no digit first",
            )
        if name in _KEPT_BY_SHELLS or name in GIVEN_BY_THE_CLUSTER or name.startswith("SLURM_"):
            raise SubmissionRefused(
                "invalid_command", f"env sets {name}, which this supplier sets by itself: use another name"
            )
