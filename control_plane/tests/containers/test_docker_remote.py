"""Engines on other hosts are reached with certificates, or by ssh, and by nobody without them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from patience import PATIENCE_SECONDS, eventually
from scarcity import no_thread
from servers.container_engines import DOCKER, DockerEngine
from servers.ssh import SshServer

from nodus_control.suppliers.docker.tunnel import _NO_THREAD, _UNREACHABLE, Tunnel
from nodus_control.suppliers.protocol import EngineUnavailable, PlacementState
from nodus_core.suppliers_file import FileReference, SshEndpoint, TcpEndpoint, Tls, UnixEndpoint

if TYPE_CHECKING:
    from containers.conftest import ContainerJobs


@pytest.fixture
def tunnel(jobs: ContainerJobs, ssh_server: SshServer) -> Iterator[Tunnel]:
    """A way to the engine's socket through a server of ssh."""
    endpoint = SshEndpoint("127.0.0.1", ssh_server.user, ssh_server.port)
    opened = Tunnel(endpoint, str(jobs.engine.socket), str(ssh_server.client()))
    yield opened
    opened.close()


def test_jobs_run_on_an_engine_that_is_reached_with_certificates(jobs: ContainerJobs) -> None:
    """Output is followed as it comes; who has another authority's certificate is not let in."""
    if jobs.engine.kind != DOCKER:
        pytest.skip("Podman's service has no TLS of its own")
    assert isinstance(jobs.engine, DockerEngine)
    mine, other = jobs.engine.authority.issue("mine"), jobs.engine.stranger.issue("other")
    authority = FileReference(str(jobs.engine.authority.certificate))
    endpoint = TcpEndpoint("127.0.0.1", jobs.engine.port)
    good = Tls(authority, FileReference(str(mine.certificate)), FileReference(str(mine.key)))
    bad = Tls(authority, FileReference(str(other.certificate)), FileReference(str(other.key)))
    blind = replace(good, ca=FileReference(str(jobs.engine.stranger.certificate)))
    job = jobs.shell("echo up; sleep 600", driver=jobs.new_driver(endpoint=endpoint, tls=good))
    job.submit().until_printed(b"up")
    job.cancel()

    assert job.finish().state is PlacementState.CANCELLED
    for tls in (bad, blind):
        with pytest.raises(EngineUnavailable):
            jobs.new_driver(endpoint=endpoint, tls=tls).identity()


def test_jobs_run_on_an_engine_that_is_reached_by_ssh(jobs: ContainerJobs, tunnel: Tunnel) -> None:
    """Also after the connection broke."""
    tunnel.open()
    driver = jobs.new_driver(endpoint=UnixEndpoint(str(tunnel.socket)))
    job = jobs.shell("echo up; sleep 600", driver=driver).submit().until_printed(b"up")
    tunnel.end()
    with pytest.raises(EngineUnavailable) as unavailable:
        job.poll()
    tunnel.open()
    job.cancel()

    assert unavailable.value.never_sent
    assert job.finish().state is PlacementState.CANCELLED
    assert job.output() == b"up\n"


def test_a_host_that_cannot_be_reached_got_nothing(tmp_path: Path) -> None:
    """And nobody is asked for a password."""
    program = tmp_path / "ssh"
    program.write_text("#!/bin/sh\nexit 255\n")
    program.chmod(0o700)
    closed = Tunnel(SshEndpoint("127.0.0.1"), program=str(program))
    with pytest.raises(EngineUnavailable) as unavailable:
        closed.open()
    closed.close()

    assert unavailable.value.never_sent
    assert "BatchMode=yes" in closed.command()
    assert closed.command()[-2:] == ["--", "127.0.0.1"]


def test_a_host_that_does_not_answer_is_waited_for_together(tmp_path: Path) -> None:
    """By all that need it, during one attempt, and not one after the other."""
    program = tmp_path / "ssh"
    program.write_text(f"#!/bin/sh\necho tried >> '{tmp_path}/tried'\nexec sleep 600\n")
    program.chmod(0o700)
    silent = Tunnel(SshEndpoint("127.0.0.1"), program=str(program))
    together = threading.Barrier(4)

    def open_it(seconds: float) -> bool:
        together.wait()
        with pytest.raises(EngineUnavailable) as unavailable:
            silent.open(seconds)
        return unavailable.value.never_sent

    with ThreadPoolExecutor(4) as threads:
        never_sent = list(threads.map(open_it, [0.0, 0.1, 0.1, 0.2]))
    eventually((tmp_path / "tried").exists)
    silent.close()
    with pytest.raises(EngineUnavailable):
        silent.open()

    assert never_sent == [True] * 4
    assert (tmp_path / "tried").read_text() == "tried\n"


def test_a_way_for_which_there_is_no_thread_is_opened_by_whoever_needs_it_next(tmp_path: Path) -> None:
    """Nobody waits for an attempt that nobody makes, nor does its end."""
    program = tmp_path / "ssh"
    program.write_text("#!/bin/sh\nexit 255\n")
    program.chmod(0o700)
    tunnel = Tunnel(SshEndpoint("127.0.0.1"), program=str(program))
    said = []
    for scarce in (True, False):
        with no_thread("nodus-docker-ssh" if scarce else "nobody's"), pytest.raises(EngineUnavailable) as unavailable:
            tunnel.open(PATIENCE_SECONDS)
        said.append((unavailable.value.detail, unavailable.value.never_sent))
    tunnel.close()

    assert said == [(_NO_THREAD, True), (_UNREACHABLE, True)]
