"""What a cluster can never run, by the job and the operator's options alone. Pure."""

from __future__ import annotations

import re

from nodus_core.suppliers_file import SlurmOptions

from ..protocol import Program, SubmissionRefused

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


def require_acceptable(program: Program, options: SlurmOptions) -> None:
    """Refuse what cannot be handed on as it is, without quoting a value, and images that nothing here runs.

    Raises:
        SubmissionRefused: `invalid_command`; `cannot_run` where no template can run the image; `command_required` where
            nothing would be left to run.
    """
    for part in (*(program.command or ()), *program.env.values()):
        if "\0" in part:
            raise SubmissionRefused("invalid_command", "command or env holds a NUL character")
        try:
            part.encode()
        except UnicodeEncodeError:
            message = "command or env holds a character that has no encoding"
            raise SubmissionRefused("invalid_command", message) from None
    if program.command is not None and (not program.command or not program.command[0]):
        raise SubmissionRefused("invalid_command", "the first word of command is empty")
    for name in program.env:
        if not _IDENTIFIER.fullmatch(name):
            raise SubmissionRefused(
                "invalid_command",
                "env holds a name that this supplier cannot hand on: use letters, digits and `_`, no digit first",
            )
        if name in _KEPT_BY_SHELLS or name in GIVEN_BY_THE_CLUSTER or name.startswith("SLURM_"):
            raise SubmissionRefused(
                "invalid_command", f"env sets {name}, which this supplier sets by itself: use another name"
            )
    if program.image in options.images:
        if not options.images[program.image] and not program.command:
            raise SubmissionRefused(
                "command_required", "the image stands for no program of its own here: give the job a `command`"
            )
    elif not options.image_command:
        raise SubmissionRefused(
            "cannot_run",
            "the supplier runs no containers, and the image is not among those that it knows: choose one of those, or "
            "another supplier",
        )
