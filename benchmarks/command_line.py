"""Section 6: the command line; CPU time of whole processes, from start to exit."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from .contenders import KEY
from .imports import bytecode_in, cpu_ms_of
from .report import Bar, Table
from .rounds import interleaved
from .server import JOB_ID, running

COMMANDS = ("run", "get", "wait", "events", "ledger")
"""Those whose help is measured."""

PROGRAM = """
import {click}
@{click}.group()
def main(): pass
@main.command()
@{click}.option('--image', required=True, help='What to run.')
@{click}.option('--gpu-count', type=int, default=1, help='How many.')
{keyword}def run(image, gpu_count): pass
main(['{argument}'], prog_name='main')
"""
EAGER_GET = """
import datetime, enum, anyio, asyncclick, httpx, pydantic
class Status(str, enum.Enum):
    QUEUED = 'queued'; PLACED = 'placed'; RUNNING = 'running'; COMPLETED = 'completed'
class Job(pydantic.BaseModel):
    id: str; status: Status; supplier: str | None = None; region: str | None = None; cost_usd: float | None = None
    image: str | None = None; gpu: str | None = None; gpu_count: int | None = None
    created_at: datetime.datetime | None = None; started_at: datetime.datetime | None = None
@asyncclick.group()
def main(): pass
@main.command()
@asyncclick.argument('job_id')
async def get(job_id):
    async with httpx.AsyncClient(headers={{'Authorization': 'Bearer k'}}) as client:
        job = Job.model_validate_json((await client.get('{base}/v1/jobs/' + job_id)).content)
    asyncclick.echo(f'{{job.id}} {{job.status}}')
main(['get', '{job_id}'], prog_name='main')
"""
PEERS = {"modal": ("modal",), "runpod": ("runpod", "runpodctl")}


def measure(*, quick: bool = False) -> Table:
    """Measure help, versions, and one job fetched over plain http on loopback."""
    python = (sys.executable, "-c")
    with running() as base, tempfile.TemporaryDirectory() as bytecode:
        environment = bytecode_in(bytecode) | {"NODUS_API_KEY": KEY, "NODUS_BASE_URL": base}
        nodus = _installed("nodus") or (sys.executable, "-m", "nodus")
        commands: dict[str, Sequence[str]] = {
            "bare python": (*python, "pass"),
            "click --help": (*python, PROGRAM.format(click="click", keyword="", argument="--help")),
            "asyncclick --help": (*python, PROGRAM.format(click="asyncclick", keyword="async ", argument="--help")),
            "nodus --version": (*nodus, "--version"),
            "nodus --help": (*nodus, "--help"),
            **{f"nodus {command} --help": (*nodus, command, "--help") for command in COMMANDS},
            "httpx + asyncclick, get": (*python, EAGER_GET.format(base=base, job_id=JOB_ID)),
            "nodus get": (*nodus, "get", JOB_ID),
            **{f"{peer} --help": (*found, "--help") for peer, names in PEERS.items() if (found := _installed(*names))},
        }
        measures = {name: functools.partial(_cpu_ms, command, environment) for name, command in commands.items()}
        interleaved(measures, 1)
        cpu = interleaved(measures, 5 if quick else 15)
    table = Table("6", "Command line", "CPU ms of the whole process", ("CPU ms", "÷ bare Python"))
    bare, bare_help = cpu["bare python"], cpu["asyncclick --help"]
    for name, took in cpu.items():
        table.add(name, took, took / bare, of="nodus" if name.startswith("nodus") else name)
    get_ratio = cpu["nodus get"] / cpu["httpx + asyncclick, get"]
    slowest = max(cpu[f"nodus {command} --help"] for command in COMMANDS)
    table.bars += [
        Bar("nodus --version ÷ bare Python", cpu["nodus --version"] / bare, 1.5),
        Bar("nodus --help ÷ a bare asyncclick program", cpu["nodus --help"] / bare_help, 1.05),
        Bar("nodus <command> --help ÷ a bare asyncclick program, the slowest", slowest / bare_help, 1.05),
        Bar("nodus get ÷ httpx, pydantic and asyncclick, eager", get_ratio, 0.9),
    ]
    return table


def _installed(*names: str) -> tuple[str, ...] | None:
    """Find a command beside this Python."""
    scripts = sysconfig.get_path("scripts")
    found = next(filter(None, (shutil.which(name, path=scripts) for name in names)), None)
    return None if found is None else (found,)


def _cpu_ms(command: Sequence[str], environment: Mapping[str, str]) -> float:
    def run() -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment, cwd=Path(os.sep))

    return cpu_ms_of(run)
