"""`nodus-control suppliers`, and the commands that take a suppliers file."""

from __future__ import annotations

import functools
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import anyio
import forked
import pytest
from supplier_files import SHIPPED

from nodus_control.control_plane import ControlPlane
from nodus_control.exit_codes import Misconfigured
from nodus_control.playground.command import Settled, announce
from nodus_control.playground.seeded import SeededKeys
from nodus_control.suppliers.command import check, describe, example_text
from nodus_control.suppliers.files import drivers_of, load_suppliers, process_options_of, require_runnable, shipped_for
from nodus_control.suppliers.findings import Finding
from nodus_control.suppliers.process.options import ProcessOptions
from nodus_core.catalogue import Catalogue, shipped_suppliers
from nodus_core.suppliers_file import DockerOptions, DriverName, SupplierKind
from nodus_core.suppliers_reading import read_suppliers

PROCESS = """\
[[supplier]]
name = "desk"
kind = "own"
regions = ["here"]
driver = "process"
gpus = { rtx_4090 = 2, l4 = 1 }
usd_per_gpu_hour = { rtx_4090 = 0.2, l4 = 0.1234 }
[supplier.process]
isolation_is_not_needed = true
memory_gib = 2
"""


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return forked.run("control", *arguments, cwd=cwd, env={**os.environ, **environment})


def test_the_example_is_a_suppliers_file() -> None:
    """As it is, and with everything that is commented out in it: that has every driver."""
    whole = re.sub(r"^#(?=[^ \n])", "", example_text(), flags=re.MULTILINE)
    read = read_suppliers(whole, "example")

    assert [entry.name for entry in read_suppliers(example_text(), "example").suppliers] == ["lab"]
    assert {entry.driver for entry in read.suppliers} == set(DriverName)


def test_an_example_is_written_and_never_over_anything(tmp_path: Path) -> None:
    """Without a file, to standard output."""
    first = run("suppliers", "init", "s.toml", cwd=tmp_path)
    again = run("suppliers", "init", "s.toml", cwd=tmp_path)
    nowhere = run("suppliers", "init", "missing/s.toml", cwd=tmp_path)
    printed = run("suppliers", "init", cwd=tmp_path)

    assert [each.returncode for each in (first, again, nowhere, printed)] == [0, 3, 3, 0]
    assert (tmp_path / "s.toml").read_text(encoding="utf-8") == printed.stdout == example_text()
    assert "s.toml is there already" in again.stderr
    assert "nodus-control suppliers check s.toml" in first.stderr


def test_a_check_names_all_mistakes_with_their_lines(tmp_path: Path) -> None:
    """With exit status 3, one a line, as compilers do."""
    text = SHIPPED.read_text(encoding="utf-8").replace('"neocloud"', '"neo"').replace('name = "aws"', 'nam = "aws"')
    (tmp_path / "s.toml").write_text(text, encoding="utf-8")
    checked = run("suppliers", "check", "s.toml", cwd=tmp_path)
    lines = [line for line in checked.stderr.splitlines() if line.startswith("s.toml:")]

    assert (checked.returncode, checked.stdout) == (3, "")
    assert [int(line.split(":")[1]) for line in lines] == [6, 7] + [
        number for number, line in enumerate(text.splitlines(), 1) if line == 'kind = "neo"'
    ]


def test_a_check_says_what_is_offered(tmp_path: Path) -> None:
    """Prices as they are, to the last of their decimals, and the hash that processes compare."""
    (tmp_path / "s.toml").write_text(PROCESS, encoding="utf-8")
    checked = run("suppliers", "check", "s.toml", cwd=tmp_path)
    file = read_suppliers(PROCESS, "s.toml")

    assert checked.returncode == 0
    assert checked.stdout.splitlines() == [
        "SUPPLIER  KIND  DRIVER   REGIONS  GPU       COUNT  USD/GPU-HOUR",
        "desk      own   process  here     rtx_4090  2      0.20",
        "desk      own   process  here     l4        1      0.1234",
        "",
        f"catalogue_sha256 {Catalogue(file).sha256}",
        "warning: desk: l4, rtx_4090: counted in name only. No GPU is attached to a job, nor is one kept from it; no "
        "image is run",
    ]
    assert list(describe(file)) == checked.stdout.splitlines()[:-1]


def test_a_check_asks_the_engines(tmp_path: Path) -> None:
    """The file is right, but an engine that does not answer can run nothing: exit status 1."""
    text = example_text().replace("unix:///var/run/docker.sock", f"unix://{tmp_path}/none.sock")
    (tmp_path / "s.toml").write_text(text, encoding="utf-8")
    checked = run("suppliers", "check", "s.toml", cwd=tmp_path)

    assert checked.returncode == 1
    assert "fault: lab: " in checked.stdout
    assert "catalogue_sha256" in checked.stdout


@pytest.mark.parametrize(("options", "probed"), [([], None), (["--probe-image", "a/probe:1"], "a/probe:1")])
def test_engines_for_containers_are_probed_with_the_image_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], probed: str | None
) -> None:
    """And with none where none is named."""
    (tmp_path / "s.toml").write_text(example_text(), encoding="utf-8")
    asked: list[tuple[Mapping[str, int], str | None]] = []

    def look_at(_options: DockerOptions, gpus: Mapping[str, int], *, probe_image: str | None = None) -> list[Finding]:
        asked.append((gpus, probe_image))
        return []

    monkeypatch.setattr("nodus_control.suppliers.docker.check.check", look_at)
    anyio.run(functools.partial(check.main, [str(tmp_path / "s.toml"), *options], standalone_mode=False))

    (lab,) = read_suppliers(example_text(), "example").suppliers
    assert asked == [(lab.gpus, probed)]


def test_an_engine_is_replaced_where_nothing_is_open(tmp_path: Path) -> None:
    """In the database that is named; without one, it is said how to name it."""
    url = f"sqlite:///{tmp_path}/nodus.db"
    replaced = run("suppliers", "repin", "lab", "--db", url, cwd=tmp_path)
    nowhere = run("suppliers", "repin", "lab", cwd=tmp_path, NODUS_DATABASE_URL="")

    assert (replaced.returncode, replaced.stdout) == (0, "the next engine that answers for lab is its engine\n")
    assert nowhere.returncode == 3
    assert "NODUS_DATABASE_URL" in nowhere.stderr


def test_a_supplier_is_released_to_the_next_customer(tmp_path: Path) -> None:
    """Whose it was is said."""
    released = run("suppliers", "release", "lab", "--db", f"sqlite:///{tmp_path}/nodus.db", cwd=tmp_path)

    assert released.returncode == 0
    assert released.stdout == "lab was nobody's, and is now whose job is placed there next\n"


def test_what_cannot_stand_together_is_warned_of(tmp_path: Path) -> None:
    """Each supplier is right by itself: two that run commands would be one machine under two names."""
    (tmp_path / "s.toml").write_text(PROCESS + PROCESS.replace('"desk"', '"desk-2"'), encoding="utf-8")
    checked = run("suppliers", "check", "s.toml", cwd=tmp_path)

    assert checked.returncode == 0
    assert 'warning: it cannot be served: suppliers "desk" and "desk-2"' in checked.stderr


def test_this_machine_is_the_supplier_where_jobs_run_without_a_file() -> None:
    """One of the kind `own`, with GPUs in name only, at the operator's price."""
    (entry,) = shipped_for("process").suppliers
    (priced,) = shipped_for("process", 250_000).suppliers

    assert (entry.name, entry.kind, entry.regions) == ("local", SupplierKind.OWN, ("local",))
    assert set(entry.micros_per_gpu_hour) == set(Catalogue(shipped_suppliers()).gpus)
    assert set(entry.micros_per_gpu_hour.values()) == {1_000_000}
    assert set(priced.micros_per_gpu_hour.values()) == {250_000}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "cannot read the suppliers file"),
        (b"# \xff", "not UTF-8"),
        (b"#" * 1_100_000, "is it the right one?"),
        (b"[[supplier]]\n", "s.toml:1: supplier 1: `name` is missing"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, content: bytes | None, expected: str) -> None:
    """Before anything is started."""
    path = tmp_path / "s.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Misconfigured) as caught:
        load_suppliers(path)

    assert expected in caught.value.message


def test_the_section_of_a_supplier_says_how_commands_run() -> None:
    """As many jobs at once as there are GPUs; what stands in no file stays as it is."""
    base = ProcessOptions(containment="off", keep_days=2, hidden_files=(Path("/run/secrets/key"),))
    options = process_options_of(read_suppliers(PROCESS, "x"), base)

    assert (options.at_once, options.isolation_is_not_needed, options.containment) == (3, True, "off")
    assert (options.keep_days, options.hidden_files) == (2, (Path("/run/secrets/key"),))
    assert (options.user, options.memory_bytes) == (None, 2 << 30)


def test_what_this_version_cannot_run_is_refused() -> None:
    """By the name of the supplier, and of what it needs."""
    twice = read_suppliers(PROCESS + PROCESS.replace('"desk"', '"desk-2"'), "x")
    with pytest.raises(Misconfigured, match='suppliers "desk" and "desk-2"'):
        process_options_of(twice, ProcessOptions())


def test_a_file_may_have_all_drivers_at_once() -> None:
    """Each job goes to those suppliers that can run it: none of them stands alone."""
    more = """
    [[supplier]]
    name = "lab"
    kind = "own"
    regions = ["basement"]
    driver = "docker"
    gpus = { l4 = 1 }
    usd_per_gpu_hour = { l4 = 1 }
    [supplier.docker]
    endpoint = "unix:///run/docker.sock"
    [[supplier]]
    name = "campus"
    kind = "own"
    regions = ["hall-1"]
    driver = "slurm"
    usd_per_gpu_hour = { l4 = 1 }
    [supplier.slurm]
    folder = "/shared/nodus"
    images = { x = ["run"] }
    """
    file = read_suppliers(f"{PROCESS}\n{more}\n{SHIPPED.read_text(encoding='utf-8')}", "x")
    require_runnable(file)

    assert drivers_of(file) == ("docker", "process", "simulated", "slurm")


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_other_suppliers_are_refused_at_the_start(tmp_path: Path, command: str) -> None:
    """Exit status 3 and one line, with both hashes and what to do. The file's name may stand in the environment."""
    (tmp_path / "s.toml").write_text(PROCESS, encoding="utf-8")
    place = {"NODUS_DATABASE_URL": f"sqlite:///{tmp_path / 'n.db'}", "XDG_STATE_HOME": str(tmp_path)}
    port = ["--port", "0"] if command == "serve" else []
    ControlPlane(place["NODUS_DATABASE_URL"], is_alone=False, suppliers=shipped_suppliers()).close()
    ended = run(command, *port, cwd=tmp_path, NODUS_SUPPLIERS="s.toml", **place)
    hashes = [Catalogue(file).sha256 for file in (shipped_suppliers(), read_suppliers(PROCESS, "s.toml"))]

    assert ended.returncode == 3
    assert len(ended.stderr.splitlines()) == 1
    assert all(part in ended.stderr for part in ("--accept-suppliers", *hashes))


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_machines_of_others_need_a_name_for_the_ledgers(tmp_path: Path, command: str) -> None:
    """Before anything is recorded under a name that means nothing elsewhere: exit status 3 and one line."""
    text = PROCESS.replace('kind = "own"', 'kind = "neocloud"')
    (tmp_path / "s.toml").write_text(text, encoding="utf-8")
    place = {"NODUS_DATABASE_URL": f"sqlite:///{tmp_path / 'n.db'}", "XDG_STATE_HOME": str(tmp_path)}
    port = ["--port", "0"] if command == "serve" else []
    ended = run(command, *port, cwd=tmp_path, NODUS_SUPPLIERS="s.toml", NODUS_LEDGER_ORIGIN="", **place)

    assert ended.returncode == 3
    assert len(ended.stderr.splitlines()) == 1
    assert "set NODUS_LEDGER_ORIGIN to a name of yours" in ended.stderr


def test_a_playground_takes_a_suppliers_file(tmp_path: Path) -> None:
    """With the drivers of the file, and no other."""
    (tmp_path / "s.toml").write_text(PROCESS, encoding="utf-8")
    options = ["--suppliers", "s.toml", "--no-browser", "--port", "0"]
    refused = [
        forked.run("playground", *options, *more, cwd=tmp_path)
        for more in (
            ["--driver", "process"],
            ["--speed", "60"],
            ["--price", "2"],
            ["--price", "0.0000001"],
            ["--process-jobs", "9"],
        )
    ]

    assert [each.returncode for each in refused] == [2, 2, 2, 2, 2]
    assert "leave --driver out" in refused[0].stderr
    assert "real time" in refused[1].stderr
    assert "--price is for jobs that run on this machine" in refused[2].stderr
    assert "at most six decimals" in refused[3].stderr
    assert "[supplier.process] says how commands run" in refused[4].stderr


def test_a_playground_says_that_its_keys_are_not_for_what_is_simulated(capsys: pytest.CaptureFixture[str]) -> None:
    """Where something else really runs; they are live keys then."""
    settled = Settled(
        host="127.0.0.1",
        port=0,
        database_url="sqlite://",
        drivers=("process", "simulated"),
        speed=1.0,
        seed=0,
        opens_browser=False,
        ready_file=None,
        as_json=False,
        allowed_hosts=frozenset(),
        suppliers=read_suppliers(PROCESS + SHIPPED.read_text(encoding="utf-8"), "x"),
    )
    announce(settled, "http://127.0.0.1:1", "http://127.0.0.1:1/", SeededKeys("nk_live_a", "nk_live_b", "secret"))
    said = capsys.readouterr().out

    assert "those of your file (process, simulated)" in said
    assert "take test keys only" in said
    assert "Nothing runs" not in said
