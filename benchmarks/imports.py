"""Section 1: importing, and the first call of a fresh process; CPU time of whole processes above bare Python."""

from __future__ import annotations

import functools
import importlib.util
import os
import resource
import tempfile
from collections.abc import Callable

from .report import Bar, Table
from .rounds import interleaved, python
from .server import JOB_ID, running

MODEL = """
import datetime, enum, httpx, pydantic
class Status(str, enum.Enum):
    QUEUED = 'queued'; PLACED = 'placed'; RUNNING = 'running'; COMPLETED = 'completed'
class Job(pydantic.BaseModel):
    id: str; status: Status; supplier: str | None = None; region: str | None = None; cost_usd: float | None = None
    image: str | None = None; gpu: str | None = None; gpu_count: int | None = None
    created_at: datetime.datetime | None = None; started_at: datetime.datetime | None = None
with httpx.Client(headers={{'Authorization': 'Bearer k'}}) as client:
    Job.model_validate_json(client.get('{base}/v1/jobs/{job_id}').content)
"""
NODUS = """
import nodus
with nodus.Client('nk_test_k', base_url='{base}') as client:
    client.get('{job_id}')
"""
PEERS = ("openai", "anthropic", "stripe", "replicate", "modal", "runpod")


def measure(*, quick: bool = False) -> Table:
    """Measure imports, and first calls over plain http on loopback."""
    with running() as base, tempfile.TemporaryDirectory() as bytecode:
        environment = bytecode_in(bytecode)
        programs = {
            "bare python": "pass",
            "import nodus": "import nodus",
            "nodus.sign_request": "import nodus; nodus.sign_request",
            "nodus.Client": "import nodus; nodus.Client",
            "nodus.AsyncClient": "import nodus; nodus.AsyncClient",
            "import httpx, pydantic.BaseModel": "import httpx, pydantic; pydantic.BaseModel",
            "httpx + a model, first call": MODEL.format(base=base, job_id=JOB_ID),
            "nodus, first call": NODUS.format(base=base, job_id=JOB_ID),
            **{f"import {peer}": f"import {peer}" for peer in PEERS if importlib.util.find_spec(peer)},
        }
        measures = {name: functools.partial(cpu_ms, program, environment) for name, program in programs.items()}
        interleaved(measures, 1)
        cpu = interleaved(measures, 5 if quick else 11)
    bare = cpu.pop("bare python")
    table = Table("1", "Import and first call", "CPU ms above bare Python", ("CPU ms", "÷ httpx + pydantic"))
    stack = cpu["import httpx, pydantic.BaseModel"] - bare
    for name, took in cpu.items():
        table.add(name, took - bare, (took - bare) / stack, of="nodus" if "nodus" in name else name)
    imported = cpu["import nodus"] - bare
    first = (cpu["nodus, first call"] - bare) / (cpu["httpx + a model, first call"] - bare)
    table.bars += [
        Bar("import nodus, ms above bare Python", imported, 10.0),
        Bar("import nodus ÷ import httpx, pydantic", imported / stack, 0.1),
        Bar("import, first client and first call ÷ httpx with a model", first, 1.25),
    ]
    return table


def bytecode_in(folder: str) -> dict[str, str]:
    """Return an environment that keeps bytecode in a folder: a checkout may lack the bytecode that a package has."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**environment, "PYTHONPYCACHEPREFIX": folder}


def cpu_ms(program: str, environment: dict[str, str]) -> float:
    """Run a program in a fresh Python; return the CPU ms of the whole process."""
    return cpu_ms_of(lambda: python("-c", program, environment=environment))


def cpu_ms_of(run: Callable[[], object]) -> float:
    """Return the CPU ms of the processes that `run` starts and waits for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) * 1000
