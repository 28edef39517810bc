"""The fixtures: one server of each kind for the whole run, a database for each test.

Where a server's program is missing its tests are skipped, by name; with `CI=true`, which installs it, they fail.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import NoReturn

import pytest

from .container_engines import DOCKER, PODMAN, ContainerEngine, DockerEngine, PodmanEngine
from .pgbouncer import PgBouncer
from .postgresql import PostgresServer
from .programs import (
    OLDEST_POSTGRESQL,
    busybox_program,
    dockerd_program,
    pgbouncer_program,
    podman_program,
    postgresql_folder,
    redis_program,
    registry_program,
    slurm_programs,
    sshd_program,
)
from .redis import RedisServer
from .registry import Registry
from .slurm import SlurmCluster
from .ssh import SshServer


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real PostgreSQL, which writes without waiting for the disk."""
    folder = postgresql_folder()
    if folder is None:
        _do_without(f"PostgreSQL {OLDEST_POSTGRESQL} or newer", "postgresql")
    with PostgresServer(folder) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A real Redis."""
    program = redis_program()
    if program is None:
        _do_without("redis-server", "redis-server")
    with RedisServer(program) as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of an empty database on PostgreSQL."""
    name = postgres_server.create_database()
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of an empty Redis."""
    redis_server.empty()
    return redis_server.url


@pytest.fixture(scope="session")
def pgbouncer(postgres_server: PostgresServer) -> Iterator[PgBouncer]:
    """A real PgBouncer in front of that PostgreSQL."""
    program = pgbouncer_program()
    if program is None:
        _do_without("PgBouncer", "pgbouncer")
    with PgBouncer(program, postgres_server.port) as pooler:
        yield pooler


@pytest.fixture(scope="session")
def image_registry() -> Iterator[Registry]:
    """A real registry of images, in which there are none yet."""
    program, busybox = registry_program(), busybox_program()
    if program is None or busybox is None:
        _do_without("registry of images", "docker-registry busybox-static")
    with Registry(program, busybox) as registry:
        yield registry


@pytest.fixture(scope="session")
def ssh_server() -> Iterator[SshServer]:
    """A real server of ssh."""
    program = sshd_program()
    if program is None:
        _do_without("sshd", "openssh-server")
    with SshServer(program) as server:
        yield server


@pytest.fixture(scope="module", params=[DOCKER, PODMAN])
def container_engine(request: pytest.FixtureRequest, image_registry: Registry) -> Iterator[ContainerEngine]:
    """A real engine for containers, of each kind in turn: one at a time."""
    kind = DockerEngine if request.param == DOCKER else PodmanEngine
    program = dockerd_program() if request.param == DOCKER else podman_program()
    if program is None or not sys.platform.startswith("linux"):
        packages = "docker.io" if request.param == DOCKER else "podman runc netavark iptables catatonit"
        _do_without(f"engine of containers ({request.param})", packages)
    if os.geteuid() != 0:
        _skip(f"{request.param} makes containers as root, and this is not root")
    with kind(program, image_registry.host) as engine:
        yield engine


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[SlurmCluster]:
    """A real Slurm of two nodes, both of them this host."""
    programs = slurm_programs()
    if programs is None:
        _do_without("Slurm", "slurm-wlm munge")
    with SlurmCluster(programs) as cluster:
        yield cluster


@pytest.fixture
def slurm(slurm_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmCluster]:
    """That Slurm with everything of it running, no job in it, and its commands leading to it."""
    monkeypatch.setenv("SLURM_CONF", str(slurm_cluster.configuration))
    slurm_cluster.repair()
    yield slurm_cluster
    slurm_cluster.empty()


def _do_without(what: str, package: str) -> NoReturn:
    reason = f"no {what} here: install it (on Debian: apt-get install {package}), or run tools/dev.py with --install"
    _skip(reason)


def _skip(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
