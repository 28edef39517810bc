"""Scripts run on this host, or through `ssh`, with the same arguments, and hang nobody."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nodus_control.suppliers.protocol import EngineUnavailable
from nodus_control.suppliers.slurm.transport import ShellTransport
from nodus_core.suppliers_file import SshEndpoint

AWKWARD = ["a b", "'; exit 9 #", '"$HOME" `id`', "", "two\nlines", "ünïcödé", "-n", "\\"]
ECHO = 'for word in "$@"; do printf "<%s>" "$word"; done; cat; echo to-errors >&2; exit 3'


@pytest.fixture
def ssh(tmp_path: Path) -> Path:
    """Stands for `ssh`: notes its options, and gives its last word to a shell, as the other side does."""
    program = tmp_path / "ssh"
    program.write_text(
        f"#!/bin/sh\nprintf '%s\\n' \"$@\" > '{tmp_path}/words'\nfor last in \"$@\"; do :; done\n"
        f"[ -e '{tmp_path}/down' ] && exit 255\nexec sh -c \"$last\"\n"
    )
    program.chmod(0o755)
    return program


def test_arguments_and_input_arrive_as_they_are() -> None:
    """Of what a script says, output, errors and status come back."""
    outcome = ShellTransport(None).run(ECHO, AWKWARD, seconds=60.0, given=b"\xff\x00")

    assert outcome.output == "".join(f"<{word}>" for word in AWKWARD).encode() + b"\xff\x00"
    assert (outcome.complaint, outcome.status) == ("to-errors", 3)


def test_they_do_through_ssh_too(ssh: Path) -> None:
    """The shell of the other side reads them once."""
    endpoint = SshEndpoint("login.example", "user", 2222)
    outcome = ShellTransport(endpoint, ssh=str(ssh)).run(ECHO, AWKWARD, seconds=60.0, given=b"\xff\x00")
    words = (ssh.parent / "words").read_text().splitlines()

    assert outcome.output == "".join(f"<{word}>" for word in AWKWARD).encode() + b"\xff\x00"
    assert outcome.status == 3
    assert words[words.index("--") + 1] == "user@login.example"
    assert {"BatchMode=yes", "ConnectTimeout=10", "2222"} <= set(words)


def test_a_login_node_that_cannot_be_reached_says_nothing(ssh: Path) -> None:
    """Whether it heard is not known."""
    (ssh.parent / "down").touch()

    with pytest.raises(EngineUnavailable, match="login node") as caught:
        ShellTransport(SshEndpoint("login.example"), ssh=str(ssh)).run("exit 0", [], seconds=60.0)
    assert not caught.value.never_sent


def test_without_ssh_nothing_was_sent(tmp_path: Path) -> None:
    """Of that one can be sure."""
    with pytest.raises(EngineUnavailable) as caught:
        ShellTransport(SshEndpoint("login.example"), ssh=str(tmp_path / "none")).run("exit 0", [], seconds=60.0)

    assert caught.value.never_sent


def test_a_script_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    """And the message does not show what it was given."""
    script = 'sleep 600 & echo $! > "$1/pid"; wait'
    transport = ShellTransport(None)
    with pytest.raises(EngineUnavailable, match="did not answer") as caught:
        transport.run(script, [str(tmp_path)], seconds=1.0, given=b"secret")
    outcome = transport.run('pid=$(cat "$1/pid") && kill -0 "$pid"', [str(tmp_path)], seconds=60.0)

    assert outcome.status != 0 or not (tmp_path / "pid").read_text().strip() or is_zombie(tmp_path)
    assert caught.value.__cause__ is None


def is_zombie(folder: Path) -> bool:
    """Whether nobody has reaped it yet."""
    pid = (folder / "pid").read_text().strip()
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_of_our_own_environment_next_to_nothing_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds secrets, and `sbatch` gives jobs what it has."""
    monkeypatch.setenv("NODUS_KEY_ENCRYPTION_KEY", "secret")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm/slurm.conf")
    names = {line.split("=")[0] for line in ShellTransport(None).run("env", [], seconds=60.0).text.splitlines()}

    assert "SLURM_CONF" in names
    assert names & set(os.environ) <= {"HOME", "LANG", "LOGNAME", "PATH", "PWD", "SHLVL", "SLURM_CONF", "USER", "_"} | {
        "OLDPWD",
        "SSH_AUTH_SOCK",
    }
