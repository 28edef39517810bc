"""A real registry of images on loopback, filled without any engine."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
from patience import PATIENCE_SECONDS

from .process import Pausable

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_APPLETS = (
    "cat",
    "dd",
    "echo",
    "env",
    "false",
    "head",
    "id",
    "ls",
    "nc",
    "seq",
    "sh",
    "sha256sum",
    "sleep",
    "tail",
    "true",
)
_CONFIGURATION = """version: 0.1
storage:
  filesystem:
    rootdirectory: {folder}/images
  delete:
    enabled: true
http:
  addr: 127.0.0.1:{port}
"""


class Registry(Pausable):
    """A registry, in which images are published that hold a busybox and nothing else.

    Args:
        program: `docker-registry`.
        busybox: a busybox that needs no library.
    """

    def __init__(self, program: Path, busybox: Path) -> None:
        super().__init__(program)
        self._busybox = busybox

    @property
    def host(self) -> str:
        """What the names of its images begin with."""
        return f"127.0.0.1:{self._process.port}"

    def publish(
        self,
        name: str,
        *,
        entrypoint: Sequence[str] | None = None,
        command: Sequence[str] = ("sh",),
        env: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> str:
        """Put an image there under the tag 1, and return the name that it is pulled by."""
        layer = _layer(self._busybox)
        configuration = {
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "Cmd": list(command),
                "Entrypoint": None if entrypoint is None else list(entrypoint),
                "Env": ["PATH=/bin", *(f"{key}={value}" for key, value in (env or {}).items())],
                "Labels": dict(labels or {}),
            },
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
            "history": [{"created_by": "tests"}],
        }
        packed = gzip.compress(layer, compresslevel=1, mtime=0)
        described = json.dumps(configuration).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": {"mediaType": _CONFIG, "size": len(described), "digest": _digest(described)},
            "layers": [{"mediaType": _LAYER, "size": len(packed), "digest": _digest(packed)}],
        }
        with httpx.Client(base_url=f"http://{self.host}", timeout=PATIENCE_SECONDS, trust_env=False) as client:
            for blob in (packed, described):
                _upload(client, name, blob)
            client.put(
                f"/v2/{name}/manifests/1", content=json.dumps(manifest), headers={"Content-Type": _MANIFEST}
            ).raise_for_status()
        return f"{self.host}/{name}:1"

    def _command(self, port: int) -> Sequence[str | Path]:
        configuration = self._folder / "registry.yml"
        configuration.write_text(_CONFIGURATION.format(folder=self._folder, port=port))
        configuration.chmod(0o644)
        return [self._program, "serve", configuration]

    def _is_ready(self, port: int) -> bool:
        with contextlib.suppress(httpx.HTTPError), httpx.Client(timeout=PATIENCE_SECONDS, trust_env=False) as client:
            return client.get(f"http://127.0.0.1:{port}/v2/").is_success
        return False


def _upload(client: httpx.Client, name: str, blob: bytes) -> None:
    begun = client.post(f"/v2/{name}/blobs/uploads/")
    begun.raise_for_status()
    where = httpx.URL(begun.headers["Location"]).copy_merge_params({"digest": _digest(blob)})
    client.put(where, content=blob).raise_for_status()


def _layer(busybox: Path) -> bytes:
    """Return the tar of an image's one layer."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for folder in ("bin", "etc", "tmp"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        program = busybox.read_bytes()
        entry = tarfile.TarInfo("bin/busybox")
        entry.size, entry.mode = len(program), 0o755
        archive.addfile(entry, io.BytesIO(program))
        for applet in _APPLETS:
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(entry)
    return written.getvalue()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
