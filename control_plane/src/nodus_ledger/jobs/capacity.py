"""How many jobs may be open at once where they share one machine, and which of those that wait come next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Capacity:
    """What there is: `gpus` of each model, but for those of `by_model`, and room for `at_once` jobs in all."""

    gpus: int
    at_once: int
    by_model: Mapping[str, int] = field(default_factory=dict)

    def of(self, gpu: str) -> int:
        """Return how many there are of a model."""
        return self.by_model.get(gpu, self.gpus)


@dataclass(frozen=True, slots=True)
class InUse:
    """What the open attempts of one GPU model take."""

    gpus: int
    jobs: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job without a place. `seq` is the order of submission."""

    seq: int
    gpu: str
    gpu_count: int


def choose(waiting: Iterable[Waiting], in_use: Mapping[str, InUse], capacity: Capacity, limit: int) -> list[Waiting]:
    """Return the jobs that are placed now, at most `limit`, in the order of their submission.

    Of each GPU model strictly the oldest first: a job of many GPUs is not passed by smaller ones for ever. Jobs of
    another model do not wait for it. One that needs more than there are of its model comes at once, to end.
    """
    free = {gpu: capacity.of(gpu) - used.gpus for gpu, used in in_use.items()}
    places = min(limit, capacity.at_once - sum(used.jobs for used in in_use.values()))
    blocked: set[str] = set()
    chosen: list[Waiting] = []
    for job in sorted(waiting, key=lambda job: job.seq):
        if len(chosen) >= places:
            break
        if job.gpu_count > capacity.of(job.gpu):
            chosen.append(job)
            continue
        left = free.get(job.gpu, capacity.of(job.gpu))
        if job.gpu in blocked or job.gpu_count > left:
            blocked.add(job.gpu)
            continue
        free[job.gpu] = left - job.gpu_count
        chosen.append(job)
    return chosen
