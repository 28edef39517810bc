"""The playground runs images in this machine's engine: from a submission over HTTP to its output and its cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from patience import PATIENCE_SECONDS

import nodus
from nodus_control.suppliers.docker.local import local_options, require_answer
from nodus_control.testing import LocalControlPlane
from nodus_core.suppliers_file import DockerOptions, SshEndpoint, UnixEndpoint

if TYPE_CHECKING:
    from containers.conftest import ContainerJobs


def test_an_image_runs_from_submission_to_output(jobs: ContainerJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own command where the caller gives none, and a caller's that fails."""
    monkeypatch.setenv("DOCKER_HOST", jobs.engine.endpoint)
    with (
        LocalControlPlane(driver="docker") as control_plane,
        nodus.Client(api_key=control_plane.api_key, base_url=control_plane.base_url) as client,
    ):
        own = client.run(image=jobs.image, gpu="h100_80gb", env={"MINE": "too"})
        failing = client.run(image=jobs.image, gpu="h100_80gb", command=["sh", "-c", "echo no; sleep 1; exit 4"])
        for job in (own, failing):
            job.wait(timeout_seconds=PATIENCE_SECONDS)
        printed = [job.logs() for job in (own, failing)]

    assert [own.status, failing.status] == ["completed", "failed"]
    assert "FROM_IMAGE=yes\n" in printed[0]
    assert "MINE=too\n" in printed[0]
    assert printed[1] == "no\n"
    assert failing.error_code == "nonzero_exit"
    assert failing.cost_usd is not None
    assert failing.cost_usd > 0


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("unix:///a/b.sock", UnixEndpoint("/a/b.sock")),
        ("ssh://me@host:2222", SshEndpoint("host", "me", 2222)),
        ("ssh://host", SshEndpoint("host")),
    ],
)
def test_the_environment_says_where_the_engine_is(named: str, expected: UnixEndpoint | SshEndpoint) -> None:
    """As other clients read it."""
    assert local_options({"DOCKER_HOST": named}).endpoint == expected


@pytest.mark.parametrize("named", ["tcp://127.0.0.1:2375", "ssh://-oProxyCommand=x@host", "unix:relative", "nonsense"])
def test_what_cannot_be_used_is_refused(named: str) -> None:
    """Above all an engine that anybody on the network may use."""
    with pytest.raises(RuntimeError, match="DOCKER_HOST"):
        local_options({"DOCKER_HOST": named})


def test_an_engine_that_does_not_answer_is_named(tmp_path: Path) -> None:
    """With what to do next."""
    with pytest.raises(RuntimeError, match="does not answer"):
        require_answer(DockerOptions(UnixEndpoint(str(tmp_path / "none"))))
