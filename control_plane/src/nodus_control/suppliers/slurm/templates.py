"""What a cluster runs for a job: the operator's template, with the job's words in their places. Pure.

A template is a list of words, and stays one: nothing of a job is ever read by a shell. The job's own command comes
after the template's last word, so that it replaces the image's CMD and leaves its ENTRYPOINT.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from nodus_core.suppliers_file import SlurmOptions, gives_gpus

from ..protocol import SubmissionRefused, Workload
from .acceptable import GIVEN_BY_THE_CLUSTER, require_acceptable

ENV = "{env}"
_PLACES = re.compile(r"\{(?:work|image)\}")


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
    require_acceptable(workload, options)
    command = workload.command or ()
    if workload.image in options.images:
        return (*options.images[workload.image], *command)
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
