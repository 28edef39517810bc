"""What an engine is asked to make of a workload: the document of `POST /containers/create`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nodus_core.suppliers_file import NO_DEVICES, NVIDIA, DockerOptions

from ..protocol import Placement, SubmissionRefused, Workload
from .options import BRIDGE

OUTPUT_KEPT_BY_ENGINE = "1g"
"""How much output an engine keeps for whoever copies it, with what it adds to each line: 28 bytes, or 45 in Podman.

Past that it drops all that it has kept so far. So there is room for all that is stored of an output, 64 MiB, in lines
of two bytes, line break included, which take 0.97 GB (in Podman, of four). Shorter lines fit as far as they go.
"""

_OPEN_FILES = 16_384
_PROCESSES = 16_384


def create_document(
    placement: Placement,
    workload: Workload,
    options: DockerOptions,
    *,
    image: str,
    labels: Mapping[str, str],
    gpus: Sequence[int | str],
    network: str,
    log_driver: str,
) -> dict[str, object]:
    """Return the document.

    Args:
        placement: the attempt, whose id and number the program finds in its environment.
        workload: what is to run.
        options: limits and capabilities.
        image: the whole reference.
        labels: whose it is.
        gpus: indices of the engine's GPUs, or paths of devices.
        network: the network's id, or `none` or `host`.
        log_driver: `local`, or Podman's `k8s-file`; json-file would change bytes that are not UTF-8.
    """
    env = {"NODUS_JOB_ID": placement.job_id, "NODUS_ATTEMPT": str(placement.attempt), **workload.env}
    document: dict[str, object] = {
        "Image": image,
        "Env": [f"{name}={value}" for name, value in env.items()],
        "Labels": dict(labels),
        "Tty": False,
        "OpenStdin": False,
        "HostConfig": {
            **_limits(options),
            **_devices(gpus, options),
            # PID 1 ignores SIGTERM unless it handles it.
            "Init": True,
            "NetworkMode": network,
            "LogConfig": {"Type": log_driver, "Config": _log_limits(log_driver)},
            "CapDrop": ["ALL"],
            "CapAdd": list(options.capabilities),
            "SecurityOpt": ["no-new-privileges"],
            "Privileged": False,
            "RestartPolicy": {"Name": "no"},
            "AutoRemove": False,
        },
    }
    if workload.command is not None:
        # It replaces the image's CMD; its ENTRYPOINT stays.
        document["Cmd"] = list(workload.command)
    return document


def gpus_of(
    placement: Placement, workload: Workload, options: DockerOptions, gpus: Mapping[str, int]
) -> list[int | str]:
    """Return which of the engine's GPUs are a placement's: indices, or device paths; empty where none is attached.

    Args:
        placement: with the indices of its slots, which begin at 0 for each model.
        workload: with the model.
        options: what stands for a GPU.
        gpus: how many GPUs of each model there are, in the order of the operator's file.

    Raises:
        SubmissionRefused: `cannot_run`: there are fewer than that.
    """
    if options.gpu_devices == NO_DEVICES or workload.gpu_count == 0:
        return []
    first = 0
    for model, count in gpus.items():
        if model == workload.gpu:
            break
        first += count
    slots = [first + index for index in placement.gpu_indices]
    there: Sequence[int | str] = range(sum(gpus.values()))
    if options.gpu_devices != NVIDIA:
        there = tuple(options.gpu_devices)
    elif options.gpu_indices is not None:
        there = options.gpu_indices
    if len(slots) != workload.gpu_count or any(slot >= len(there) for slot in slots):
        raise SubmissionRefused("cannot_run", "the supplier does not say which GPUs the job would get")
    return [there[slot] for slot in slots]


def needs_network(options: DockerOptions) -> bool:
    """Say whether each placement has a network of its own."""
    return options.network == BRIDGE


def _limits(options: DockerOptions) -> dict[str, object]:
    limits: dict[str, object] = {
        "PidsLimit": options.pids,
        # Podman would ask for more than it may give where it runs in a container itself.
        "Ulimits": [
            {"Name": "nofile", "Soft": _OPEN_FILES, "Hard": _OPEN_FILES},
            {"Name": "nproc", "Soft": _PROCESSES, "Hard": _PROCESSES},
        ],
    }
    if options.memory_bytes is not None:
        limits.update(Memory=options.memory_bytes, MemorySwap=options.memory_bytes)
    if options.cpus is not None:
        limits["NanoCpus"] = round(options.cpus * 1_000_000_000)
    if options.shm_bytes is not None:
        limits["ShmSize"] = options.shm_bytes
    return limits


def _devices(gpus: Sequence[int | str], options: DockerOptions) -> dict[str, object]:
    if not gpus:
        return {}
    if options.gpu_devices == NVIDIA:
        request = {"Driver": "nvidia", "DeviceIDs": [str(gpu) for gpu in gpus], "Capabilities": [["gpu"]]}
        return {"DeviceRequests": [request]}
    paths = [{"PathOnHost": gpu, "PathInContainer": gpu, "CgroupPermissions": "rwm"} for gpu in gpus]
    return {"Devices": paths}


def _log_limits(log_driver: str) -> dict[str, str]:
    limits = {"max-size": OUTPUT_KEPT_BY_ENGINE}
    if log_driver == "local":
        # Compression is what it does to older files, and without it there may be one file alone.
        limits.update({"max-file": "1", "compress": "false"})
    return limits
