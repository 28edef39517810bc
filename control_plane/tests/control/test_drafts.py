"""A job that is being written in the page's form: its text, its faults, and the code that it is given."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE_SECONDS

import nodus
from nodus_control.playground.drafts import read_fields, write_fields
from nodus_control.playground.snippets import Caller, snippets
from nodus_control.testing import LocalControlPlane

Spec = dict[str, Any]

PLAIN: Spec = {
    "image": "ghcr.io/acme/train:v3",
    "gpu": "h100_80gb",
    "gpu_count": 1,
    "max_runtime_seconds": 3600,
    "idempotency_key": "plain",
}
AWKWARD: Spec = {
    "image": "-x'y\"z$HOME\\w",
    "command": ["", "-c", "print('it''s', \"$HOME\\n\")\n# `end`", "--", "*", "ünïcödé \U0001f600 \u2028", "{name}"],
    "gpu": "a100_80gb",
    "gpu_count": 8,
    "env": {"A-B.c": "x = y", "QUOTED": '"as it is"', "LINES": "one\ntwo\r\n", "EMPTY": "", "DOLLAR": "$PATH `id` \\"},
    "max_runtime_seconds": 172_800,
    "require_tiers": ["neocloud", "tier3"],
    "prefer_region": "-eu 'west'",
    "name": '-it\'s "夜間" $HOME `id` \\ #7',
    "labels": {"team": '-it\'s = "夜" $HOME `id`', "gpu-test": "", "9": " "},
    "idempotency_key": 'it\'s -- \\ "awkward" $KEY',
}

_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
_specs = st.fixed_dictionaries(
    {
        "image": st.text("abc/:.-'\"$\\{é", min_size=1, max_size=20),
        "gpu": st.sampled_from(["h100_80gb", "l40s"]),
        "gpu_count": st.integers(1, 8),
        "max_runtime_seconds": st.integers(60, 172_800),
    },
    optional={
        "command": st.lists(_text, min_size=1, max_size=4),
        "env": st.dictionaries(
            _text.filter(lambda name: name and name.isprintable() and not set(name) & set("= \u3000")),
            _text,
            min_size=1,
            max_size=4,
        ),
        "require_tiers": st.lists(
            st.sampled_from(["hyperscaler", "tier3", "neocloud", "own"]), min_size=1, unique=True
        ),
        "prefer_region": st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=12),
        "name": st.text(min_size=1, max_size=12).filter(str.isprintable),
        "labels": st.dictionaries(
            st.from_regex(r"[a-z0-9]([a-z0-9_.-]{0,5}[a-z0-9])?", fullmatch=True),
            st.text(max_size=12).filter(str.isprintable),
            min_size=1,
            max_size=4,
        ),
    },
)


@given(_specs)
def test_a_spec_survives_the_form(spec: Spec) -> None:
    """Written as text and read again, it is the same."""
    payload, errors = read_fields(write_fields(spec))

    assert errors == {}
    assert payload == spec


@given(_specs)
def test_python_says_the_same_spec(spec: Spec) -> None:
    """Whatever stands in it: the code compiles, and calls with these values."""
    called: list[Spec] = []

    class Client:
        def __init__(self, **_settings: str) -> None:
            pass

        def __enter__(self) -> Client:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def run(self, **values: Any) -> Any:
            called.append(values)
            return self

        def wait(self) -> None:
            pass

        status = supplier = cost_usd = None

    code = snippets(spec, Caller("http://127.0.0.1:1", "key"))["python"].removeprefix("import nodus\n")
    module = SimpleNamespace(Client=Client, SupplierKind=nodus.SupplierKind)
    exec(compile(code, "snippet", "exec"), {"nodus": module, "print": lambda *_values: None})

    assert called == [spec]


@pytest.fixture
def control_plane() -> Iterator[LocalControlPlane]:
    """A control plane on loopback."""
    with LocalControlPlane() as started:
        yield started


def draft(control_plane: LocalControlPlane, **body: Any) -> dict[str, Any]:
    """Ask for a draft."""
    answer = httpx.post(f"{control_plane.base_url}/_dev/draft", json=body, trust_env=False, timeout=PATIENCE_SECONDS)
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


@pytest.mark.parametrize("spec", [PLAIN, AWKWARD], ids=["plain", "awkward"])
@pytest.mark.parametrize("caller", ["human", "agent"])
def test_all_code_submits_the_same_job(
    control_plane: LocalControlPlane, tmp_path: Path, spec: Spec, caller: str
) -> None:
    """Pasted as it is, each gives the job of the first again: the server compares specs by idempotency key."""
    missing = [program for program in ("curl", "openssl", "bash") if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not on this machine: {', '.join(missing)}")
    affordable = {**spec, "gpu_count": 1, "max_runtime_seconds": 60}
    code = draft(control_plane, spec=affordable, **{"as": caller})["code"]
    scripts = Path(sys.executable).parent
    environment = {
        "PATH": os.pathsep.join([str(scripts), os.environ["PATH"]]),
        "HOME": str(tmp_path),
        "LC_ALL": "C.UTF-8",
    }
    first = _run(["bash", "-c", code["curl"]], environment)
    control_plane.advance(3 * 86_400)
    job = json.loads(first)

    assert job["image"] == spec["image"]
    assert json.loads(_run(["bash", "-c", code["curl"]], environment))["id"] == job["id"]
    assert _run([sys.executable, "-c", code["python"]], environment).startswith("JobStatus.COMPLETED ")
    assert _run([sys.executable, "-c", code["async"]], environment).startswith("JobStatus.COMPLETED ")
    assert job["id"] in _run(["bash", "-c", code["cli"]], environment)
    listed = httpx.get(
        f"{control_plane.base_url}/v1/jobs",
        headers={"Authorization": f"Bearer {control_plane.api_key}"},
        trust_env=False,
        timeout=PATIENCE_SECONDS,
    )
    assert len(listed.json()["jobs"]) == 1


def _run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("image", "", "required"),
        ("image", "two words", "without spaces"),
        ("image", "x" * 513, "512"),
        ("command", "python 'x", "no closing quotation"),
        ("gpu", "H200", "GPU model"),
        ("gpu_count", "0", "from 1 to 8"),
        ("gpu_count", "9", "from 1 to 8"),
        ("gpu_count", "1.5", "from 1 to 8"),
        ("gpu_count", "", "from 1 to 8"),
        ("max_runtime_seconds", "59", "from 60 to 172800"),
        ("max_runtime_seconds", "172801", "from 60 to 172800"),
        ("env", "A=1\nB", "Line 2"),
        ("env", "=1", "Line 1"),
        ("env", "A B=1", "Line 1"),
        ("env", "A=1\nA=2", "set before"),
        ("env", 'A="x', "JSON string"),
        ("require_tiers", ["gold"], "must be a list of"),
        ("prefer_region", "x" * 129, "128"),
        ("name", "x" * 129, "128 printable"),
        ("labels", "Team=x", "letter or digit at either end"),
        ("labels", "=x", "letter or digit at either end"),
        ("labels", "a=1\n\na=2", "Line 3 gives a label that is given before"),
        ("labels", "a=" + "x" * 129, "128 printable"),
        ("idempotency_key", "x" * 129, "128 printable"),
        ("idempotency_key", "é", "printable ASCII"),
    ],
)
def test_a_fault_is_told_of_its_field_alone(field: str, text: object, words: str) -> None:
    """In the words of a submission that is refused; no value is repeated."""
    _payload, errors = read_fields({**write_fields(PLAIN), field: text})

    assert list(errors) == [field]
    assert words in errors[field]


def test_a_draft_says_where_the_job_would_go(control_plane: LocalControlPlane) -> None:
    """As the router judges it now, outages and all, and what would be reserved."""
    before = draft(control_plane, spec=PLAIN)
    control_plane.outage("hyperbolic")
    after = draft(control_plane, fields=before["fields"])

    assert before["reserved_usd"] == 1.29
    assert before["routing"]["chosen"]["supplier"] == "hyperbolic"
    assert after["routing"]["chosen"]["supplier"] == "vast"
    assert {each["rejected"] for each in after["routing"]["candidates"] if each["supplier"] == "hyperbolic"} == {
        "outage"
    }


def test_a_faulty_draft_has_no_code(control_plane: LocalControlPlane) -> None:
    """And still a route, as far as it is known."""
    faulty = draft(control_plane, fields={**write_fields(PLAIN), "gpu_count": "9"})

    assert faulty["code"] == {}
    assert faulty["reserved_usd"] is None
    assert faulty["routing"]["chosen"] is not None


@pytest.mark.parametrize("body", [{}, {"spec": []}, {"fields": []}, {"spec": {"command": 5, "env": [], "gpu": None}}])
def test_a_draft_of_nonsense_is_a_form_with_faults(control_plane: LocalControlPlane, body: dict[str, Any]) -> None:
    """A link may carry anything."""
    assert draft(control_plane, **body)["errors"].keys() == {"image"}
