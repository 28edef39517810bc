"""How the suppliers of a file are served: which driver each of them has, and how that is made.

A driver's own modules are imported when it is made: nobody loads what the file does not name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from nodus_core.suppliers_file import (
    DockerOptions,
    ProcessSupplierOptions,
    SimulatedOptions,
    SlurmOptions,
    SupplierEntry,
    SuppliersFile,
)
from nodus_ledger.jobs.jobs import Jobs

from .drivers import DOCKER, PROCESS, SIMULATED, SLURM, DriverContext, Service, Terms, limit_seconds
from .process.options import ProcessOptions
from .protocol import Driver, Placement, Program, SubmissionRefused, Workload
from .simulated.driver import Recalled, SimulatedDriver


def services_of(file: SuppliersFile, *, is_reliable: bool, process: ProcessOptions) -> dict[str, Service]:
    """Return how each supplier of a file is served.

    Args:
        file: the suppliers.
        is_reliable: simulated suppliers neither refuse nor lose jobs by chance.
        process: how commands run at the supplier whose driver is `process`.
    """
    simulated = functools.partial(_make_simulated, is_reliable)  # one, which they share
    return {
        entry.name: Service(SIMULATED, simulated, Terms(entry.start_deadline_seconds))
        if entry.is_simulated
        else _service_of(entry, process)
        for entry in file.suppliers
    }


def _service_of(entry: SupplierEntry, process: ProcessOptions) -> Service:
    terms = Terms(entry.start_deadline_seconds, entry.unknown_grace_seconds)
    options = entry.options
    assert not isinstance(options, SimulatedOptions)
    if isinstance(options, ProcessSupplierOptions):
        one_customer = not process.isolation_is_not_needed
        made = functools.partial(_make_process, process)
        return Service(PROCESS, made, terms, one_customer=one_customer, why_not=_why_not_a_command)
    if isinstance(options, SlurmOptions):
        one_customer = not options.isolation_is_not_needed
        made, why_not = functools.partial(_make_slurm, options), functools.partial(_why_not_on_cluster, options)
        return Service(SLURM, made, terms, one_customer=one_customer, why_not=why_not)
    made, why_not = functools.partial(_make_docker, entry, options), functools.partial(_why_not_in_container, options)
    return Service(DOCKER, made, terms, why_not=why_not)


def _why_not_a_command(program: Program) -> str | None:
    from .process.acceptable import require_acceptable

    return _refusal(lambda: require_acceptable(program))


def _why_not_in_container(options: DockerOptions, program: Program) -> str | None:
    from .docker.acceptable import require_acceptable

    return _refusal(lambda: require_acceptable(program, options))


def _why_not_on_cluster(options: SlurmOptions, program: Program) -> str | None:
    from .slurm.acceptable import require_acceptable

    return _refusal(lambda: require_acceptable(program, options))


def _refusal(require: Callable[[], object]) -> str | None:
    try:
        require()
    except SubmissionRefused as exc:
        return exc.message
    return None


def _make_simulated(is_reliable: bool, context: DriverContext) -> Driver:
    jobs, clock = context.jobs, context.clock
    return SimulatedDriver(
        context.catalogue,
        seed=context.seed or 0,
        now=lambda: clock.now() / 1000,
        recall=lambda placement: _recall(jobs, placement),
        is_reliable=is_reliable,
    )


def _make_process(options: ProcessOptions, context: DriverContext) -> Driver:
    from .process.driver import ProcessDriver
    from .process.keeping import AttemptOwner

    return ProcessDriver(
        _folder(context, PROCESS),
        secret=context.secret,
        options=options,
        state_files=context.state_files,
        owner=AttemptOwner(context.database_id, context.incarnation),
    )


def _make_docker(entry: SupplierEntry, options: DockerOptions, context: DriverContext) -> Driver:
    from .docker.driver import DockerDriver

    return DockerDriver(
        options,
        supplier=entry.name,
        gpus=entry.gpus or {},
        database_id=context.database_id,
        incarnation=context.incarnation,
        directory=_folder(context, DOCKER),
    )


def _make_slurm(options: SlurmOptions, context: DriverContext) -> Driver:
    from .slurm.driver import make_slurm_driver

    return make_slurm_driver(options, context)


def _folder(context: DriverContext, driver: str) -> Path:
    if context.directory is None:
        raise ValueError(f"the driver `{driver}` has nowhere to keep the output of jobs")
    return context.directory


def _recall(jobs: Jobs, placement: Placement) -> Recalled | None:
    found = jobs.placement_of(placement.job_id, placement.attempt)
    if found is None:
        return None
    job, facts = found
    opened = jobs.open_secrets(job)
    workload = Workload(
        image=job.image,
        gpu=job.gpu,
        gpu_count=job.gpu_count,
        max_runtime_seconds=limit_seconds(job, facts.rate),
        command=opened.command,
        env=opened.env,
    )
    return Recalled(workload, None if facts.ended_at is None else facts.ended_at / 1000)
