"""Reads the drivers' own sections of a suppliers file: `[supplier.docker]` and its neighbours."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .suppliers_file import (
    DEFAULT_MIN_FREE_DISK_BYTES,
    DEFAULT_PIDS,
    ENV_PLACEHOLDER,
    GPU_FLAGS,
    GPU_NAME,
    IMAGE_PLACEHOLDERS,
    NO_DEVICES,
    NVIDIA,
    STOP_PLACEHOLDERS,
    DockerOptions,
    DriverName,
    Options,
    ProcessSupplierOptions,
    Reference,
    SimulatedOptions,
    SlurmOptions,
    SshEndpoint,
    TcpEndpoint,
    Tls,
    UnixEndpoint,
    gives_gpus,
)
from .toml_sections import REFERENCE_MEANING, Section, as_number, as_reference, is_integer

HAS_SLOTS = (DriverName.DOCKER, DriverName.PROCESS)
"""The drivers whose GPUs are counted here, and not by an engine that queues by itself."""

NETWORKS = ("none", "bridge", "host")

_ENDPOINT_MEANING = "unix:///PATH, tcp://HOST:PORT (with `tls`) or ssh://USER@HOST"
_MOST_CPUS = 4096
_MOST_PIDS = 4_194_304  # what Linux has
_LARGEST_INDEX = 65_535
_LONGEST_PROVISIONING_SECONDS = 86_400
_PORTS = range(1, 65_536)

_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f]+")
_ABSOLUTE = re.compile(r"/[^\x00-\x1f\x7f]*")
_DEVICE = re.compile(r"/[^\x00-\x20\x7f:,]+")
_CAPABILITY = re.compile(r"(?:CAP_)?[A-Z][A-Z0-9_]*")
_REGISTRY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")
_IMAGE = re.compile(r"[A-Za-z0-9][\x21-\x7e]{0,511}")
_SLURM_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_PARTITIONS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:,[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_SHARED_ACCOUNTS = ("root", "nobody")
# No part of it begins with a hyphen, which ssh would take for an option.
_AUTHORITY = re.compile(
    r"(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9_.-]*)@)?"
    r"(?P<host>[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?/?"
)
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")


def read_options(
    entry: Section, driver: DriverName | None, gpus: Mapping[str, int] | None, prices: Mapping[str, int]
) -> Options:
    """Read the section of an entry's driver, and report those of other drivers."""
    for other in DriverName:
        if other is not driver and entry.has(other.value):
            entry.take(other.value)
            if driver is not None:
                entry.report(
                    other.value, f"[supplier.{other.value}] belongs to another driver: the driver is `{driver.value}`."
                )
    if driver is DriverName.DOCKER:
        entry.require("docker", "a section [supplier.docker] with at least `endpoint`")
        return _docker(_section(entry, driver), sum((gpus or {}).values()))
    if driver is DriverName.SLURM:
        entry.require("slurm", "a section [supplier.slurm] with at least `folder` and `image_command`")
        return _slurm(_section(entry, driver), prices)
    if driver is DriverName.PROCESS:
        return _process(_section(entry, driver))
    return _simulated(_section(entry, DriverName.SIMULATED)) if driver is not None else SimulatedOptions()


def _section(entry: Section, driver: DriverName) -> Section:
    return entry.section(driver.value, f"{entry.shown}, [supplier.{driver.value}]")


def _docker(section: Section, slots: int) -> DockerOptions:
    endpoint = _endpoint(section)
    tls = _tls(section, endpoint)
    isolation_is_not_needed = section.boolean("isolation_is_not_needed")
    network = section.choice("network", NETWORKS, "bridge")
    if network == "host" and not isolation_is_not_needed:
        section.report(
            "network",
            '`network = "host"` lets every job reach this host, its network and other jobs: take "bridge", or say '
            "`isolation_is_not_needed = true`.",
        )
    registries = section.strings("registries", _REGISTRY, 'a registry, such as "ghcr.io" or "127.0.0.1:5000"')
    auth: dict[str, Reference] | None = section.mapping(
        "registry_auth", _REGISTRY, "a registry, as in `registries`", as_reference, REFERENCE_MEANING
    )
    for registry in auth or ():
        if registries is not None and registry not in registries:
            section.report("registry_auth", f"{registry} is not in `registries`: no image comes from there.", registry)
    capabilities = section.strings("capabilities", _CAPABILITY, 'a Linux capability, such as "SYS_PTRACE"') or ()
    options = DockerOptions(
        endpoint=endpoint or UnixEndpoint(""),
        tls=tls,
        gpu_devices=_gpu_devices(section, slots),
        gpu_indices=_gpu_indices(section, slots),
        memory_bytes=section.gibibytes("memory_gib", None),
        cpus=section.number("cpus", _MOST_CPUS, None, is_positive=True),
        pids=section.integer("pids", (1, _MOST_PIDS), DEFAULT_PIDS),
        shm_bytes=section.gibibytes("shm_gib", None),
        capabilities=tuple(name.removeprefix("CAP_") for name in capabilities),
        network=network,
        isolation_is_not_needed=isolation_is_not_needed,
        registries=registries,
        registry_auth=auth or {},
        min_free_disk_bytes=section.gibibytes("min_free_disk_gib", DEFAULT_MIN_FREE_DISK_BYTES, is_positive=False),
    )
    section.close()
    return options


def _endpoint(section: Section) -> UnixEndpoint | TcpEndpoint | SshEndpoint | None:
    section.require("endpoint", _ENDPOINT_MEANING)
    written = section.take("endpoint")
    if written is None:
        return None
    endpoint = _parse_endpoint(written) if isinstance(written, str) else None
    if endpoint is None:
        section.report("endpoint", f"`endpoint` must be {_ENDPOINT_MEANING}.")
    return endpoint


def _parse_endpoint(written: str) -> UnixEndpoint | TcpEndpoint | SshEndpoint | None:
    if written.startswith("unix://"):
        path = written.removeprefix("unix://")
        return UnixEndpoint(path) if len(path) > 1 and _ABSOLUTE.fullmatch(path) else None
    if written.startswith("ssh://"):
        return _parse_ssh(written)
    parts = _authority(written, "tcp")
    if parts is None or parts[0] is not None or parts[2] is None:
        return None
    return TcpEndpoint(parts[1], parts[2])


def _parse_ssh(written: str) -> SshEndpoint | None:
    parts = _authority(written, "ssh")
    return None if parts is None else SshEndpoint(host=parts[1], user=parts[0], port=parts[2])


def _authority(written: str, scheme: str) -> tuple[str | None, str, int | None] | None:
    """Return user, host and port of a URL that has nothing else; None for any other."""
    found = _AUTHORITY.fullmatch(written.removeprefix(f"{scheme}://")) if written.startswith(f"{scheme}://") else None
    if found is None:
        return None
    port = None if found["port"] is None else int(found["port"])
    return (found["user"], found["host"].strip("[]"), port) if port is None or port in _PORTS else None


def _tls(section: Section, endpoint: object) -> Tls | None:
    if not section.has("tls"):
        section.take("tls")
        if isinstance(endpoint, TcpEndpoint):
            section.report(
                "endpoint",
                "`endpoint` is reached over the network, and whoever reaches it owns that host: add "
                "`tls = { ca = …, cert = …, key = … }`.",
            )
        return None
    if endpoint is not None and not isinstance(endpoint, TcpEndpoint):
        section.report("tls", "`tls` goes with an endpoint tcp://HOST:PORT only: leave it out.")
    table = section.section("tls", section.shown)
    ca = table.reference("ca", "the authority that signed the engine's certificate")
    cert = table.reference("cert", "our certificate")
    key = table.reference("key", "the key of our certificate")
    table.close()
    return None if ca is None or cert is None or key is None else Tls(ca, cert, key)


def _gpu_devices(section: Section, slots: int) -> str | tuple[str, ...]:
    if isinstance(section.peek("gpu_devices"), list):
        paths = section.strings("gpu_devices", _DEVICE, "the absolute path of a device")
        if paths is not None and slots and len(paths) != slots:
            section.report(
                "gpu_devices", f"`gpu_devices` must have a device for each of the {slots} GPUs that `gpus` counts."
            )
        return paths or NO_DEVICES
    value = section.take("gpu_devices")
    if value is None:
        return NVIDIA
    if value not in (NVIDIA, NO_DEVICES):
        section.report(
            "gpu_devices", '`gpu_devices` must be "nvidia", "none" or a list of the paths of devices, one for each GPU.'
        )
        return NVIDIA
    return str(value)


def _gpu_indices(section: Section, slots: int) -> tuple[int, ...] | None:
    value = section.take("gpu_indices")
    if value is None:
        return None
    if not isinstance(value, list) or not all(is_integer(each, (0, _LARGEST_INDEX)) for each in value):
        section.report("gpu_indices", "`gpu_indices` must be a list of whole numbers, such as [0, 1].")
        return None
    if len(set(value)) < len(value):
        section.report("gpu_indices", "`gpu_indices` must not have a GPU twice.")
    elif slots and len(value) != slots:
        section.report("gpu_indices", f"`gpu_indices` must have one for each of the {slots} GPUs that `gpus` counts.")
    return tuple(value)


def _slurm(section: Section, prices: Mapping[str, int]) -> SlurmOptions:
    section.require("folder", "an absolute path on the cluster's shared file system")
    folder = section.string("folder", _ABSOLUTE, "an absolute path on the cluster's shared file system")
    if folder is not None and (folder == "/" or ".." in folder.split("/")):
        section.report("folder", "`folder` must be a folder of its own, without `..` in its path.")
    gpu_names = section.mapping(
        "gpu_names", GPU_NAME, "a GPU model that has a price", _slurm_name, "its name in the cluster"
    )
    for gpu in gpu_names or ():
        if prices and gpu not in prices:
            section.report("gpu_names", f"{gpu} has no price: add it to `usd_per_gpu_hour`, or leave it out here.", gpu)
    image_command = _template(section, "image_command", IMAGE_PLACEHOLDERS)
    _check_image_command(section, image_command)
    images = section.mapping("images", _IMAGE, "an image reference", _prefix, "a list of strings, the command before")
    if section.is_there and not section.has("image_command") and not section.has("images"):
        section.report(
            None, "`image_command` is missing: how an image is run there; or name `images` that need no container."
        )
    options = SlurmOptions(
        folder=folder or "",
        transport=_transport(section),
        partition=section.string("partition", _PARTITIONS, "the name of a partition"),
        gpu_names=gpu_names or {},
        image_command=image_command,
        stop_command=_template(section, "stop_command", STOP_PLACEHOLDERS),
        images=images or {},
        isolation_is_not_needed=section.boolean("isolation_is_not_needed"),
    )
    section.close()
    return options


def _transport(section: Section) -> SshEndpoint | None:
    written = section.take("transport")
    if written in (None, "local"):
        return None
    endpoint = _parse_ssh(written) if isinstance(written, str) else None
    if endpoint is None:
        section.report("transport", '`transport` must be "local" or ssh://USER@HOST.')
    return endpoint


def _slurm_name(value: object) -> str | None:
    return value if isinstance(value, str) and _SLURM_NAME.fullmatch(value) else None


def _prefix(value: Any) -> tuple[str, ...] | None:
    is_list = isinstance(value, list) and all(isinstance(each, str) and _PRINTABLE.fullmatch(each) for each in value)
    return tuple(value) if is_list else None


def _template(section: Section, key: str, placeholders: Sequence[str]) -> tuple[str, ...]:
    items = section.strings(key, _PRINTABLE, "one argument of the command; nothing goes through a shell")
    for place, item in enumerate(items or ()):
        for found in _PLACEHOLDER.findall(item):
            if found not in placeholders:
                section.report(key, f"`{key}` has a placeholder that is none of {', '.join(placeholders)}.", place)
        if ENV_PLACEHOLDER in item and item != ENV_PLACEHOLDER:
            section.report(key, f"{ENV_PLACEHOLDER} in `{key}` must be an item of its own.", place)
    return items or ()


def _check_image_command(section: Section, command: Sequence[str]) -> None:
    if not command:
        return
    if not any("{image}" in item for item in command):
        section.report("image_command", "`image_command` must have {image}, which becomes the job's image.")
    if ENV_PLACEHOLDER not in command:
        section.report(
            "image_command", "`image_command` must have {env}, which becomes one --env=NAME for each variable."
        )
    if not gives_gpus(command):
        section.report(
            "image_command",
            f"`image_command` gives the container no GPU: add one of {', '.join(GPU_FLAGS)}, such as "
            '"--device=nvidia.com/gpu=all".',
        )


def _process(section: Section) -> ProcessSupplierOptions:
    user = section.string("user", _ACCOUNT, "the name of an account of this machine")
    if user in _SHARED_ACCOUNTS:
        section.report("user", f"`user` must be a dedicated account for jobs: {user} is used by others.")
    options = ProcessSupplierOptions(
        user=user,
        isolation_is_not_needed=section.boolean("isolation_is_not_needed"),
        memory_bytes=section.gibibytes("memory_gib", None),
    )
    section.close()
    return options


def _simulated(section: Section) -> SimulatedOptions:
    options = SimulatedOptions(
        provisioning_seconds=_provisioning(section),
        capacity_refusal_rate=section.number("capacity_refusal_rate", 1, 0.0),
        loss_per_hour=section.number("loss_per_hour", 3600, 0.0),
    )
    section.close()
    return options


def _provisioning(section: Section) -> tuple[float, float]:
    value = section.take("provisioning_seconds")
    if value is None:
        return (0.0, 0.0)
    numbers = [as_number(each) for each in value] if isinstance(value, list) else []
    if len(numbers) == 2:
        shortest, longest = numbers
        if shortest is not None and longest is not None and 0 <= shortest <= longest <= _LONGEST_PROVISIONING_SECONDS:
            return (shortest, longest)
    section.report(
        "provisioning_seconds",
        "`provisioning_seconds` must be the shortest and the longest time, such as [20, 60], in seconds up to "
        f"{_LONGEST_PROVISIONING_SECONDS}.",
    )
    return (0.0, 0.0)
