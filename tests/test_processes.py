"""The library in processes of its own: what importing it loads, what it logs, and what survives a fork."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import nodus
from tests.support.script import job
from tests.support.server import LoopbackServer, answer

SOURCE = str(Path(nodus.__file__).parents[1])
HEAVY = ["anyio", "asyncclick", "asyncio", "cryptography", "httpcore", "httpx", "pydantic", "ssl", "trio"]


def python(code: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh interpreter, warnings being errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": SOURCE, **environ},
    )
    assert done.returncode == 0, done.stderr
    return done


def loaded_by(code: str) -> list[str]:
    """Which of the heavy packages a program has loaded at its end."""
    report = f"import sys, json; print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    loaded: list[str] = json.loads(python(f"{code}\n{report}").stdout)
    return loaded


@pytest.mark.parametrize(
    "code",
    [
        "import nodus",
        "import nodus; nodus.sign_request",
        "import nodus; nodus.verify_webhook",
        "import nodus; nodus.sign_request(signing_secret='k', method='GET', path='/')",
        "import nodus; nodus.verify_webhook(signing_secret='k', method='GET', path='/', body=b'', signature_header='')",
        "import nodus; nodus.NodusError, nodus.JobStatus.QUEUED, nodus.__version__, dir(nodus)",
        "from nodus import RateLimitError, GpuType",
    ],
)
def test_what_does_not_wait_loads_nothing_heavy(code: str) -> None:
    """Importing the package, signing, verifying and catching errors need the standard library only."""
    assert loaded_by(code) == []


def test_a_client_loads_what_it_needs_and_not_the_command_line() -> None:
    """It does not load the code for ledgers either."""
    loaded = set(loaded_by("import nodus; nodus.Client('k')"))

    assert {"httpx", "pydantic"} <= loaded
    assert not {"asyncclick", "cryptography"} & loaded


def test_every_public_name_can_be_had_from_a_fresh_import() -> None:
    """One at a time, in any order, and with a star."""
    python("from nodus import *\nimport nodus\nassert all(name in globals() for name in nodus.__all__)")
    python("import nodus\nfor name in reversed(nodus.__all__):\n    getattr(nodus, name)")


FORK = """
import os, sys, nodus
client = nodus.Client("k", base_url=sys.argv[1])
client.get("parent-before")
child = os.fork()
if child == 0:
    client.get("child")
    client.close()
    os._exit(0)
_, status = os.waitpid(child, 0)
client.get("parent-after")
client.close()
raise SystemExit(status)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_client_survives_a_fork() -> None:
    """The child opens connections of its own; two processes on one would mix up their answers."""
    with LoopbackServer(then=answer(200, job())) as server:
        python(FORK, server.url)

    connections = {request.target: request.connection for request in server.received}

    assert connections == {"/v1/jobs/parent-before": 1, "/v1/jobs/child": 2, "/v1/jobs/parent-after": 1}


LAST_WORDS = """
import nodus, sys
from nodus import NodusError
class Owner:
    def __init__(self):
        self.client = nodus.Client("k", base_url=sys.argv[1])
    def __del__(self):
        try:
            self.client.get("a-job")
        except NodusError as exc:
            print(exc.code)
owner = Owner()
"""


def test_a_call_while_python_shuts_down_is_an_error_of_ours() -> None:
    """Modules cannot be imported any more by then, and sockets would be of no use."""
    with LoopbackServer(then=answer(404, {"error": "job_not_found"})) as server:
        done = python(LAST_WORDS, server.url)

    assert done.stdout in ("client_closed\n", "job_not_found\n")


LOGGED = """
import os, sys, nodus
with nodus.Client(base_url=sys.argv[1], max_retries=1) as client:
    client.with_options().healthz()
    job = client.run(image="i", env={"TOKEN": os.environ["TOKEN"]}, command=["--token", os.environ["TOKEN"]])
    try:
        client.get(job.id)
    except nodus.NodusError:
        pass
print("done")
"""
CREDENTIALS = {"NODUS_API_KEY": "nk_test_verysecret", "NODUS_SIGNING_SECRET": "sgn_alsosecret", "TOKEN": "env-secret"}


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("", []),
        ("info", ["INFO"]),
        ("debug", ["DEBUG", "INFO"]),
        ("DEBUG", ["DEBUG", "INFO"]),
        ("warning", []),
        ("nonsense", []),
    ],
)
def test_the_log_can_be_turned_on_in_the_environment(level: str, expected: list[str]) -> None:
    """On stderr, at the level asked for, and never with a secret."""
    refused = answer(401, {"error": "invalid_api_key", "message": "no such key: nk_test_verysecret"})
    with LoopbackServer(answer(200, {"status": "ok"}), answer(202, job()), refused) as server:
        done = python(LOGGED, server.url, NODUS_LOG=level, **CREDENTIALS)

    assert done.stdout == "done\n"
    assert sorted({word for word in done.stderr.split() if word in ("DEBUG", "INFO", "WARNING")}) == expected
    assert not any(secret in done.stderr for secret in CREDENTIALS.values())


def test_one_handler_is_enough() -> None:
    """However many clients there are, a line is printed once; without the variable no handler is added."""
    code = (
        "import nodus, logging\nfor _ in range(3): nodus.Client('k')\nprint(len(logging.getLogger('nodus').handlers))"
    )

    assert python(code, NODUS_LOG="info").stdout == "2\n"
    assert python(code).stdout == "1\n"


def test_a_level_that_is_none_is_not_ignored_silently() -> None:
    """One line names the levels, however many clients there are; the value is shown in a way that cannot hide."""
    done = python("import nodus\nfor _ in range(2): nodus.Client('k')", NODUS_LOG="verbose\n\x1b[31m")

    (line,) = done.stderr.splitlines()
    assert "NODUS_LOG='verbose\\n\\x1b[31m' is not a level: use debug, info, warning, error" in line


@pytest.mark.parametrize("configured", ["before", "after"])
@pytest.mark.parametrize("stream", ["sys.stderr", "sys.stdout", "io.StringIO()"])
def test_a_line_is_printed_once_beside_handlers_of_the_program(configured: str, stream: str) -> None:
    """Whichever was there first; a log that goes elsewhere does not keep it from the terminal."""
    configure = f"logging.basicConfig(level=logging.DEBUG, stream={stream})"
    make = "client = nodus.Client('k')"
    steps = [configure, make] if configured == "before" else [make, configure]
    code = "\n".join(["import io, logging, sys, nodus", *steps, "logging.getLogger('nodus').info('a line')"])
    done = python(code, NODUS_LOG="info")

    assert (done.stdout + done.stderr).count("a line") == 1


FOREIGN = (
    """
import logging, sys, nodus
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
"""
    + LOGGED
)


def test_no_library_underneath_logs_a_secret_either() -> None:
    """An application that logs everything at DEBUG shows what httpx and httpcore say too."""
    with LoopbackServer(then=answer(200, job())) as server:
        done = python(FOREIGN, server.url, **CREDENTIALS)

    assert "DEBUG:nodus:" in done.stdout
    assert not any(secret in done.stdout + done.stderr for secret in CREDENTIALS.values())
