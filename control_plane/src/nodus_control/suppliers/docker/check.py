"""What `nodus-control suppliers check` says of an engine for containers: findings, and how bad each is."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nodus_core.suppliers_file import NO_DEVICES, NVIDIA, DockerOptions, Reference, UnixEndpoint

from ..findings import Finding, Level
from ..protocol import EngineUnavailable
from .engine import CHANGE_SECONDS, START_SECONDS, Answer, Engine
from .options import resolve
from .output import Frames
from .references import InvalidReference, parse_reference

PROBED = ("169.254.169.254 80", "{gateway} 22", "{gateway} 80", "{gateway} 443", "1.1.1.1 443")
"""What a probe container tries to reach, as host and port: a cloud's metadata, its host, and the internet."""

_PROBE = "for to in $TARGETS; do nc -w 2 ${to%,*} ${to#*,} </dev/null >/dev/null 2>&1 && echo $to; done; true"


def check(
    options: DockerOptions,
    gpus: Mapping[str, int],
    *,
    probe_image: str | None = None,
    resolved: Callable[[Reference], str] = resolve,
) -> list[Finding]:
    """Look at an engine.

    Args:
        options: what the operator decided.
        gpus: how many GPUs of each model it is said to have.
        probe_image: an image that the engine has, with `sh` and `nc`, such as busybox: a container of it says what jobs
            could reach. None for no such container.
        resolved: returns the secret that a reference stands for.
    """
    try:
        engine = Engine(options, resolved)
    except RuntimeError as exc:
        return [Finding(Level.FAULT, str(exc))]
    try:
        version = engine.ask("GET", "/version", seconds=CHANGE_SECONDS).require(200).document()
        info = engine.ask("GET", "/info", seconds=CHANGE_SECONDS).require(200).document()
        findings = [*judge(options, gpus, version, info), *_disk(options, info)]
        if probe_image is not None:
            findings += _probe(engine, probe_image)
        return findings
    except EngineUnavailable as exc:
        return [Finding(Level.FAULT, f"{exc.detail}: start it, or correct `endpoint`")]
    finally:
        engine.close()


def judge(
    options: DockerOptions, gpus: Mapping[str, int], version: Mapping[str, Any], info: Mapping[str, Any]
) -> list[Finding]:
    """Say what follows from what an engine says of itself. Pure."""
    components = [str(each.get("Name")) for each in version.get("Components") or ()]
    is_podman = "Podman Engine" in components
    name = "Podman" if is_podman else "Docker Engine"
    findings = [Finding(Level.GOOD, f"reached: {name} {version.get('Version')}, API {version.get('ApiVersion')}")]
    if _version(str(version.get("ApiVersion", "0"))) < (1, 41):
        findings.append(Finding(Level.FAULT, "the engine is too old: version 1.41 of the API is needed (Docker 20.10)"))
    if not is_podman and not info.get("LiveRestoreEnabled"):
        text = 'jobs end when the engine is restarted: set "live-restore": true in daemon.json'
        findings.append(Finding(Level.WARNING, text))
    security = [str(each) for each in info.get("SecurityOptions") or ()]
    if not any(each.startswith(("name=userns", "name=rootless")) for each in security):
        text = "root in a container is root on the host, but for the capabilities that it lacks: set userns-remap"
        findings.append(Finding(Level.WARNING, text))
    wanted = sum(gpus.values())
    if options.gpu_devices == NO_DEVICES:
        findings.append(Finding(Level.WARNING, "no GPU is attached to any job (`gpu_devices` is none)"))
    elif options.gpu_devices == NVIDIA:
        findings.append(_nvidia(wanted, info, is_podman=is_podman))
        if options.gpu_indices is not None and len(options.gpu_indices) != wanted:
            text = f"`gpu_indices` names {len(options.gpu_indices)} GPUs, and `gpus` says {wanted}"
            findings.append(Finding(Level.FAULT, text))
    elif len(options.gpu_devices) != wanted:
        text = f"`gpu_devices` names {len(options.gpu_devices)} devices, and `gpus` says {wanted}"
        findings.append(Finding(Level.FAULT, text))
    for warning in info.get("Warnings") or ():
        findings.append(Finding(Level.WARNING, f"the engine itself warns: {warning}"))
    return findings


def read_reached(printed: bytes, targets: Sequence[str]) -> list[str]:
    """Return which of the targets a probe container says that it reached. Pure."""
    lines = printed.decode("ascii", "replace").split()
    return [target for target in targets if target.replace(" ", ",") in lines]


def _nvidia(wanted: int, info: Mapping[str, Any], *, is_podman: bool) -> Finding:
    if is_podman:
        text = "Podman ignores requests for NVIDIA's GPUs, so no job would run: name device paths in `gpu_devices`"
        return Finding(Level.FAULT, text)
    if "nvidia" not in (info.get("Runtimes") or {}):
        text = "the engine knows no runtime `nvidia`: install NVIDIA's container toolkit, or jobs will not start"
        return Finding(Level.WARNING, text)
    return Finding(Level.GOOD, f"the engine knows the runtime `nvidia`; `gpus` says that there are {wanted} GPUs")


def _version(written: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in written.split("."))


def _disk(options: DockerOptions, info: Mapping[str, Any]) -> list[Finding]:
    if not isinstance(options.endpoint, UnixEndpoint):
        text = "how full its disk is cannot be seen from here, so `min_free_disk_gib` is without effect"
        return [Finding(Level.WARNING, text)]
    try:
        free = shutil.disk_usage(str(info.get("DockerRootDir"))).free
    except OSError:
        return [Finding(Level.WARNING, "the folder of its images cannot be looked at from here")]
    if free < options.min_free_disk_bytes:
        return [Finding(Level.FAULT, f"its disk has {free / 1e9:.0f} GB left, less than `min_free_disk_gib`")]
    return [Finding(Level.GOOD, f"its disk has {free / 1e9:.0f} GB left")]


def _probe(engine: Engine, image: str) -> list[Finding]:
    """Start a container on a network of its own, as a job would have, and name what it reaches."""
    try:
        reference = parse_reference(image)
    except InvalidReference as exc:
        return [Finding(Level.WARNING, f"nothing was probed: {exc}")]
    name = f"nodus-probe-{time.time_ns():x}"
    network = engine.ask("POST", "/networks/create", body={"Name": name, "Driver": "bridge"}, seconds=CHANGE_SECONDS)
    network_id = network.require(201).document()["Id"]
    try:
        described = engine.ask("GET", f"/networks/{network_id}", seconds=CHANGE_SECONDS).require(200).document()
        ranges = described.get("IPAM", {}).get("Config") or [{}]
        targets = [target.format(gateway=ranges[0].get("Gateway", "")) for target in PROBED]
        said = _run(engine, name, str(reference), network_id, targets)
    finally:
        engine.ask("DELETE", f"/networks/{network_id}", seconds=CHANGE_SECONDS)
    if said is None:
        return [Finding(Level.WARNING, f"nothing was probed: the engine cannot run {reference} (pull it first)")]
    reached = read_reached(said, targets)
    if not reached:
        return [Finding(Level.GOOD, f"a container reached none of {', '.join(targets)}")]
    text = f"a container reached {', '.join(reached)}: the guide on suppliers has a rule for the firewall"
    return [Finding(Level.WARNING, text)]


def _run(engine: Engine, name: str, image: str, network: str, targets: Sequence[str]) -> bytes | None:
    """Run the probe to its end, and return what it printed; None where it cannot run."""
    body = {
        "Image": image,
        "Entrypoint": ["sh", "-c", _PROBE],
        "Env": ["TARGETS=" + " ".join(target.replace(" ", ",") for target in targets)],
        "HostConfig": {
            "Init": True,
            "NetworkMode": network,
            "CapDrop": ["ALL"],
            # As for jobs: Podman would ask for more than it may give where it runs in a container itself.
            "Ulimits": [{"Name": each, "Soft": 1024, "Hard": 1024} for each in ("nofile", "nproc")],
        },
    }
    made = engine.ask("POST", "/containers/create", params={"name": name}, body=body, seconds=CHANGE_SECONDS)
    if made.status != 201:
        return None
    path = f"/containers/{made.document()['Id']}"
    try:
        started: Answer = engine.ask("POST", f"{path}/start", seconds=START_SECONDS)
        if started.status != 204:
            return None
        engine.ask("POST", f"{path}/wait", seconds=START_SECONDS).require(200)
        params = {"stdout": "true", "stderr": "true"}
        frames = Frames()
        said = frames.feed(engine.ask("GET", f"{path}/logs", params=params, seconds=CHANGE_SECONDS).content)
        frames.require_whole()
        return said
    finally:
        engine.ask("DELETE", path, params={"v": "true", "force": "true"}, seconds=CHANGE_SECONDS)
