"""The environment in which the `process` driver runs a program: what the job gave, over a small documented minimum.

Nothing of the control plane's own environment is passed on. The minimum, each entry of which the job can replace:

=================== ===============================================================================================
`PATH`              The directory of the control plane's own Python first, so that `python train.py` finds one, then
                    the usual places. The command itself is looked up on the `PATH` that results.
`HOME`              The attempt's work directory: programs that write under `~` leave the user's files alone.
`TMPDIR`            A directory of the attempt's own, removed when it is over.
`LANG`              `C.UTF-8`, so that text is UTF-8 whatever the machine is set to. (`LC_ALL` would outrank a `LANG`
                    that the job gives.)
`NODUS_JOB_ID`      The job.
`NODUS_ATTEMPT`     Which placement of the job this is, from 1.
`NODUS_WORK_DIR`    The attempt's work directory, in which the program starts. It also marks the program's processes,
                    so that they can be found should their runner be killed.
=================== ===============================================================================================
"""

from __future__ import annotations

import os
from collections.abc import Mapping

_USUAL_PLACES = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")

WORK_DIRECTORY_VARIABLE = "NODUS_WORK_DIR"


def program_environment(
    given: Mapping[str, str],
    *,
    job_id: str,
    attempt: int,
    python: str,
    work_directory: str,
    temporary_directory: str,
) -> dict[str, str]:
    """The whole environment of the program. `given` wins over the minimum, name by name."""
    return {
        "PATH": os.pathsep.join((os.path.dirname(python), *_USUAL_PLACES)),
        "HOME": work_directory,
        "TMPDIR": temporary_directory,
        "LANG": "C.UTF-8",
        "NODUS_JOB_ID": job_id,
        "NODUS_ATTEMPT": str(attempt),
        WORK_DIRECTORY_VARIABLE: work_directory,
        **given,
    }
