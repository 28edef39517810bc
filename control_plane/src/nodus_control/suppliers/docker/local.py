"""The engine for containers of this machine, for whoever wants to try what an image does."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from nodus_core.suppliers_file import NO_DEVICES, DockerOptions, SshEndpoint, UnixEndpoint

from ..protocol import EngineUnavailable
from .engine import CHANGE_SECONDS, Engine

_DOCKER_HOST = "DOCKER_HOST"
_SSH = re.compile(r"ssh://(?:([A-Za-z0-9_][A-Za-z0-9_.-]*)@)?([A-Za-z0-9][A-Za-z0-9.-]*)(?::([0-9]{1,5}))?/?")


def local_options(environ: Mapping[str, str] = os.environ) -> DockerOptions:
    """Return the options of this machine's engine, without GPUs: `DOCKER_HOST` says where, or one of the usual sockets.

    Raises:
        RuntimeError: there is no such socket, or `DOCKER_HOST` is none that can be used.
    """
    named = environ.get(_DOCKER_HOST)
    if named:
        return DockerOptions(_endpoint(named), gpu_devices=NO_DEVICES)
    for path in _usual_sockets(environ):
        if os.path.exists(path):
            return DockerOptions(UnixEndpoint(path), gpu_devices=NO_DEVICES)
    raise RuntimeError(
        "no engine for containers was found on this machine: start Docker or Podman's service (podman system service), "
        f"or set {_DOCKER_HOST} to where one listens"
    )


def require_answer(options: DockerOptions) -> None:
    """Check that an engine answers.

    Raises:
        RuntimeError: it does not.
    """
    engine = Engine(options)
    try:
        engine.ask("GET", "/version", seconds=CHANGE_SECONDS).require(200)
    except EngineUnavailable as exc:
        where = options.endpoint.path if isinstance(options.endpoint, UnixEndpoint) else "its host"
        raise RuntimeError(
            f"the engine for containers at {where} does not answer ({exc.detail}): start it, or set {_DOCKER_HOST} to "
            "where another one listens"
        ) from exc
    finally:
        engine.close()


def _endpoint(named: str) -> UnixEndpoint | SshEndpoint:
    if named.startswith("unix:///"):
        return UnixEndpoint(named.removeprefix("unix://"))
    found = _SSH.fullmatch(named)
    if found is not None:
        return SshEndpoint(found[2], found[1], None if found[3] is None else int(found[3]))
    raise RuntimeError(
        f"{_DOCKER_HOST} must be unix:///PATH or ssh://USER@HOST here: an engine at tcp:// is not used without "
        "certificates"
    )


def _usual_sockets(environ: Mapping[str, str]) -> list[str]:
    found = ["/var/run/docker.sock"]
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime):
        found += [os.path.join(runtime, "docker.sock"), os.path.join(runtime, "podman", "podman.sock")]
    return [*found, "/run/podman/podman.sock"]
