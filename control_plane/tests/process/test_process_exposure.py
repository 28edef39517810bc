"""Secrets in a worker's environment: which are, that it does not start with them, and that their files are hidden."""

from __future__ import annotations

import os
import pathlib

import forked
import pytest
from supplier_files import COMMANDS, SIMULATIONS

from nodus_control.suppliers.process.exposure import exposed, require_nothing_exposed, secret_files
from nodus_control.suppliers.process.options import ProcessOptions

KEY = "5e" * 32


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({}, []),
        ({"NODUS_KEY_ENCRYPTION_KEY": ""}, []),
        ({"NODUS_KEY_ENCRYPTION_KEY": KEY}, ["NODUS_KEY_ENCRYPTION_KEY"]),
        ({"NODUS_KEY_ENCRYPTION_KEY": "file:/run/secrets/key"}, []),
        ({"NODUS_LEDGER_SIGNING_KEY": KEY}, ["NODUS_LEDGER_SIGNING_KEY"]),
        ({"NODUS_DATABASE_URL": "sqlite:///nodus.db"}, []),
        ({"NODUS_DATABASE_URL": "postgresql://nodus@db/nodus"}, []),
        ({"NODUS_DATABASE_URL": "postgresql://nodus:word@db/nodus"}, ["NODUS_DATABASE_URL"]),
        ({"NODUS_DATABASE_URL": "postgresql://db/nodus?user=nodus&password=word"}, ["NODUS_DATABASE_URL"]),
        ({"NODUS_DATABASE_URL": "file:/run/secrets/database"}, []),
        ({"NODUS_DATABASE_URL": "none at all"}, []),
        ({"NODUS_REDIS_URL": "redis://cache:6379/0"}, []),
        ({"NODUS_REDIS_URL": "redis://:word@cache:6379/0"}, ["NODUS_REDIS_URL"]),
        ({"PGPASSWORD": "word"}, ["PGPASSWORD"]),
    ],
)
def test_a_variable_is_exposed_that_holds_a_secret_itself(environment: dict[str, str], names: list[str]) -> None:
    """And not one that names a file of it, nor a URL without a password."""
    assert exposed(environment) == names


def test_another_account_cannot_read_the_environment() -> None:
    """So secrets may stand there."""
    environment = {"NODUS_KEY_ENCRYPTION_KEY": KEY, "PGPASSWORD": "word"}

    with pytest.raises(RuntimeError, match=r"NODUS_KEY_ENCRYPTION_KEY and PGPASSWORD: .* file:PATH") as raised:
        require_nothing_exposed(ProcessOptions(), environment)
    assert KEY not in str(raised.value)
    require_nothing_exposed(ProcessOptions(user="nodus-jobs"), environment)


def test_files_of_secrets_are_known_by_their_whole_path() -> None:
    """Whatever the directory is later."""
    files = secret_files(
        {"NODUS_KEY_ENCRYPTION_KEY": "file:key", "NODUS_REDIS_URL": "file:/run/redis", "HOME": "file:x"}
    )

    assert files == (pathlib.Path.cwd() / "key", pathlib.Path("/run/redis"))


@pytest.mark.parametrize("command", ["serve", "worker"])
@pytest.mark.parametrize("driver", ["process", "simulated"])
def test_the_command_line_says_what_is_exposed(tmp_path: pathlib.Path, command: str, driver: str) -> None:
    """Exit status 3, and the secret is in no message; a simulation runs no commands, and is asked for nothing.

    The file that is named is wrong, so that one that starts to read it ends too.
    """
    port = ["--port", "0"] if command == "serve" else []
    suppliers = COMMANDS if driver == "process" else SIMULATIONS
    environment = {
        **os.environ,
        "NODUS_DATABASE_URL": f"sqlite:///{tmp_path / 'n.db'}",
        "NODUS_LEDGER_SIGNING_KEY": KEY,
        "NODUS_KEY_ENCRYPTION_KEY": "file:/no/such/file",
    }
    ended = forked.run("control", command, *suppliers, *port, env=environment)

    assert ended.returncode == 3
    assert KEY not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    expected = "NODUS_LEDGER_SIGNING_KEY" if driver == "process" else "cannot read NODUS_KEY_ENCRYPTION_KEY"
    assert expected in ended.stderr
