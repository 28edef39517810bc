"""What other users of the machine could see of a control plane at work: none of its customers' secrets.

Looked at while a job runs: the command lines and environments of all processes, what was printed, and every file.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
from hosted.processes import Hosted
from patience import PATIENCE_SECONDS, eventually
from supplier_files import COMMANDS

import nodus
from nodus_control.control_plane import ControlPlane
from nodus_ledger.keys.keys import PrincipalKind

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")

# Of this run alone: other runs of these tests may be under way on the machine.
_RUN = secrets.token_hex(6)
ENV_VALUE = f"env-value-{_RUN}"
COMMAND_WORD = f"command-word-{_RUN}"
URL_TOKEN = f"url-token-{_RUN}"
_Found = TypeVar("_Found")
# It waits until it is ended; the word is one of its arguments.
COMMAND = ["sh", "-c", "echo started; exec sleep 600", COMMAND_WORD]


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    """Files are open to everybody unless somebody takes care."""
    previous = os.umask(0o022)
    yield
    os.umask(previous)


def argument_lists() -> Iterator[tuple[int, list[bytes]]]:
    """Return the command line of every process."""
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                yield int(each.name), (each / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            except OSError:
                continue


def environment_of(pid: int) -> bytes:
    """Return a process's environment; nothing for one that is over."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def is_of_the_job(pid: int, arguments: list[bytes]) -> bool:
    """Say whether this is the job's own program, which has its command and its environment."""
    return COMMAND_WORD.encode() in arguments or is_its_last(pid, arguments)


def is_its_last(pid: int, arguments: list[bytes]) -> bool:
    """Say whether this is what the job's program becomes, and remains."""
    return arguments == [b"sleep", b"600"] and f"={ENV_VALUE}".encode() in environment_of(pid)


def seen_in_processes(*hidden: str) -> list[tuple[str, list[bytes]]]:
    """Return which of these secrets stand in a command line or an environment, but for the job's own."""
    return [
        (secret, arguments)
        for pid, arguments in argument_lists()
        if pid != os.getpid() and not is_of_the_job(pid, arguments)
        for secret in hidden
        if any(secret.encode() in one for one in (*arguments, environment_of(pid)))
    ]


def undisturbed(look: Callable[[], _Found]) -> _Found:
    """Return what a look at files found, once none of them went away meanwhile."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            return look()


def seen_in_files(directory: Path, *hidden: str) -> list[tuple[str, str]]:
    """Return which of these secrets stand in which file below a folder."""
    return [
        (secret, path.name)
        for path in directory.rglob("*")
        if path.is_file() and not path.is_symlink()
        for secret in hidden
        if secret.encode() in path.read_bytes()
    ]


def open_to_others(directory: Path) -> dict[str, str]:
    """Return the files that others may read, and their modes; not those in folders that they cannot enter."""
    found = {}
    for folder, folders, files in os.walk(directory):
        folders[:] = [name for name in folders if os.stat(os.path.join(folder, name)).st_mode & 0o077]
        for name in files:
            mode = stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode)
            if mode & 0o077:
                found[name] = oct(mode)
    return found


def start_something_secret(client: nodus.Client, hook_url: str) -> tuple[nodus.Job, str]:
    """Register a webhook with a token in its URL, and run a job with secrets; return it, and the webhook's secret."""
    hook = client.webhooks.create(f"{hook_url}?token={URL_TOKEN}", ["job.placed"])
    job = client.run(image="unused", gpu="l40s", command=COMMAND, env={"SECRET": ENV_VALUE}, max_runtime_seconds=600)
    eventually(lambda: client.get(job.id).status == "running")
    eventually(lambda: any(is_its_last(*each) for each in argument_lists()))
    eventually(lambda: all(each.attempts for each in client.webhooks.deliveries(hook.id)))
    client.ledger.checkpoint()
    return job, str(hook.secret)


def test_a_self_hosted_control_plane_gives_nothing_away(tmp_path: Path) -> None:
    """Neither what answers requests nor the worker, while the command runs."""
    state = tmp_path / "state"
    state.mkdir()
    database = f"sqlite:///{state / 'nodus.db'}"
    control_plane = ControlPlane(database, seed=None, is_alone=False)
    minted = control_plane.keys.mint(
        customer_id="acme",
        label="",
        principal_kind=PrincipalKind.SERVICE,
        now=control_plane.clock.now(),
        signing_required=True,
        is_test=False,
    )
    control_plane.close()
    with Hosted(database, tmp_path, is_executed=True) as hosted:
        options = (*COMMANDS, "--webhook-allow", "127.0.0.1")
        url = hosted.serve(*options)
        hosted.work(*options)
        with nodus.Client(api_key=minted.api_key, base_url=url, signing_secret=minted.signing_secret) as client:
            job, webhook_secret = start_something_secret(client, "http://127.0.0.1:9/hook")
            hidden = (
                ENV_VALUE,
                COMMAND_WORD,
                URL_TOKEN,
                webhook_secret,
                minted.api_key,
                str(minted.signing_secret),
                (state / "nodus.db.key").read_text().strip(),
            )
            in_processes = seen_in_processes(*hidden)
            in_files = undisturbed(lambda: seen_in_files(state, *hidden[:-1]))
            loose = undisturbed(lambda: open_to_others(state))
            job.cancel()
            eventually(lambda: client.get(job.id).is_terminal)
        hosted.stop()
        printed = hosted.output()

    assert in_processes == []
    assert in_files == []
    assert loose == {}
    assert [secret for secret in hidden if secret in printed] == []


def test_a_playground_that_runs_commands_gives_nothing_away(tmp_path: Path) -> None:
    """It prints its keys, to whoever started it; they stand in no command line, and in no file that others may read."""
    state = tmp_path / "state"
    state.mkdir()
    ready, printed = state / "ready.json", tmp_path / "printed.txt"
    arguments = ["playground", "--no-browser", "--port", "0", "--driver", "process"]
    with printed.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "nodus", *arguments, "--db", f"sqlite:///{state / 'n.db'}", "--ready-file", ready],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        eventually(lambda: ready.exists() or process.poll() is not None, printed.read_text)
        keys = json.loads(ready.read_text())
        with nodus.Client(api_key=keys["api_key"], base_url=keys["base_url"]) as client:
            job, webhook_secret = start_something_secret(client, f"{keys['base_url']}/_dev/inbox/mine")
            received = httpx.get(
                f"{keys['base_url']}/_dev/inbox",
                headers={"Authorization": f"Bearer {keys['api_key']}"},
                trust_env=False,
                timeout=PATIENCE_SECONDS,
            ).json()
            hidden = (ENV_VALUE, COMMAND_WORD, URL_TOKEN, webhook_secret)
            of_the_playground = (keys["api_key"], keys["agent_api_key"], keys["agent_signing_secret"])
            in_processes = seen_in_processes(*hidden, *of_the_playground)
            in_files = undisturbed(lambda: seen_in_files(state, *hidden))
            loose = undisturbed(lambda: open_to_others(state))
            job.cancel()
            eventually(lambda: client.get(job.id).is_terminal)
    finally:
        process.terminate()
        process.wait()

    assert [each["event"]["type"] for each in received["deliveries"]] == ["job.placed"]
    assert in_processes == []
    assert in_files == []
    assert loose == {}
    assert [secret for secret in hidden if secret in printed.read_text()] == []
