"""The group of commands: help, what is loaded when, and commands of other distributions."""

from __future__ import annotations

import gc
import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import asyncclick
import pytest

from nodus import __version__
from nodus._cli import reference, registry
from nodus._cli.groups import Subcommands
from nodus._cli.program import drive
from nodus._poll import DEFAULT_POLL_SECONDS
from tests.cli.conftest import Command
from tests.cli.stub import API_KEY, Answer, Stub

PATHS = [path for name in registry.COMMANDS for path, _ in registry.leaves(name)]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md"


def loaded_by(*arguments: str) -> tuple[str, set[str]]:
    """What the command prints, and the modules that are loaded after it, in a process of its own."""
    program = (
        "import json, sys\nfrom nodus._cli import main\n"
        "sys.argv = ['nodus', *sys.argv[1:]]\nmain()\nprint(json.dumps(sorted(sys.modules)))"
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "COVERAGE_"))}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True, env=environ
    )
    printed, _, modules = done.stdout.rstrip("\n").rpartition("\n")
    return printed, set(json.loads(modules))


def module_of(name: str) -> str:
    """The module that has a command."""
    command = registry.load(name)
    assert command is not None
    return next(
        module
        for module, loaded in sys.modules.items()
        if module.startswith("nodus._cli.commands.") and command in vars(loaded).values()
    )


def test_the_version_loads_nothing() -> None:
    """Scripts ask for it; it costs what Python costs."""
    printed, modules = loaded_by("--version")

    assert printed == f"nodus {__version__}"
    assert modules.isdisjoint({"asyncclick", "anyio", "httpx", "pydantic", "typing"})


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("run", "--help"),
        ("list", "-h"),
        ("doctor", "--help"),
        ("events", "--help"),
        ("webhooks", "--help"),
        ("webhooks", "listen", "--help"),
        ("ledger", "verify", "--help"),
    ],
)
def test_help_loads_neither_the_http_stack_nor_an_event_loop(arguments: tuple[str, ...]) -> None:
    """Nor the modules of commands about another subject."""
    printed, modules = loaded_by(*arguments)

    commands = {name for name in modules if name.startswith("nodus._cli.commands.")}
    assert printed.startswith("Usage: nodus")
    # Some versions of asyncclick load anyio themselves, which starts nothing.
    assert modules.isdisjoint({"httpx", "pydantic", "asyncio", "trio", "nodus._async", "nodus._cli.event_loop"})
    assert commands == {module_of(name) for name in arguments[:1] if name in registry.COMMANDS}


def test_a_command_of_our_own_looks_for_no_others() -> None:
    """The search through installed distributions is slow."""
    _, modules = loaded_by("get", "--help")

    assert "importlib.metadata" not in modules


@pytest.mark.parametrize("path", PATHS)
def test_every_command_has_help_and_is_documented(command: Command, path: str) -> None:
    """Its first sentence is the one in the list of commands; each option says what it does; each has `--json`."""
    name, *inner = path.split(" ")
    loaded = dict(registry.leaves(name))[path]
    sentence = (loaded.help or "").splitlines()[0]
    options = [parameter for parameter in loaded.params if isinstance(parameter, asyncclick.Option)]

    result = command(name, *inner, "--help")

    assert result.status == 0
    assert sentence.endswith(".")
    assert inner or sentence == registry.COMMANDS[name]
    assert [option.name for option in options if not option.help] == []
    assert "--json" in result.stdout
    assert f"## nodus {path}\n" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["webhooks", "ledger"])
def test_a_group_has_help_and_says_what_is_in_it(command: Command, name: str) -> None:
    """Whether it was asked for or nothing was; its sentence is the one in the list of all commands."""
    asked, bare, unknown = command(name, "--help"), command(name), command(name, "xyzzy")
    group = registry.load(name)

    assert isinstance(group, Subcommands)
    assert group.help == registry.COMMANDS[name]
    assert (asked.status, bare, unknown.status) == (0, asked, 2)
    assert all(group.summary_of(each) in " ".join(asked.stdout.split()) for each in group.commands)
    assert f"### nodus {name}\n" in PAGE.read_text(encoding="utf-8")


def test_the_page_is_what_the_commands_say() -> None:
    """Made by `python -m nodus._cli.reference`."""
    assert PAGE.read_text(encoding="utf-8") == reference.page()


def test_the_page_can_be_made_again() -> None:
    """By the command that its maker names."""
    made = subprocess.run(
        [sys.executable, "-m", "nodus._cli.reference"], capture_output=True, check=True, encoding="utf-8"
    )

    assert made.stdout == reference.page()


def test_the_help_names_the_librarys_interval() -> None:
    """The number is written out so that help need not load what waits."""
    loaded = registry.load("wait")
    assert loaded is not None
    (option,) = [option for option in loaded.params if option.name == "poll_seconds"]

    assert isinstance(option, asyncclick.Option)
    assert f"By default, every {DEFAULT_POLL_SECONDS:g} s." in (option.help or "")


@pytest.mark.parametrize(
    "option", ["--api-key", "--key", "--token", "--signing-secret", "--secret", "--webhook-secret"]
)
@pytest.mark.parametrize("path", PATHS)
def test_no_command_takes_a_secret(stub: Stub, nodus: Command, path: str, option: str) -> None:
    """It would show in process lists; the variable to use is named, and the secret is not repeated."""
    result = nodus(*path.split(" "), f"{option}=nk_live_hush")

    assert (result.status, result.stdout, stub.requests) == (2, "", [])
    assert "NODUS_" in result.stderr
    assert "nk_live_hush" not in result.stderr


def test_nothing_at_all_shows_the_help(command: Command) -> None:
    """As if it had been asked for: whoever types the name alone wants to know what there is."""
    result = command()

    assert result == command("--help")
    assert (result.status, "Commands:" in result.stdout) == (0, True)


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["help"], ["--help"]),
        (["help", "run"], ["run", "--help"]),
        (["help", "webhooks", "listen"], ["webhooks", "listen", "--help"]),
        (["version"], ["--version"]),
        (["-V"], ["--version"]),
    ],
)
def test_the_words_of_other_programs_are_understood(command: Command, words: list[str], options: list[str]) -> None:
    """`help` and `version` as commands, and the short option."""
    result = command(*words)

    assert (result, result.status) == (command(*options), 0)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [(["lst"], "Did you mean 'list'?"), (["xyzzy"], "No such command 'xyzzy'."), (["--"], "Missing command.")],
)
def test_a_command_that_is_not_there_exits_2(command: Command, words: list[str], complaint: str) -> None:
    """The nearest is named, if one is near."""
    result = command(*words)

    assert result.status == 2
    assert complaint in result.stderr


def test_the_version_is_a_line_of_data(command: Command) -> None:
    """As from any program."""
    assert command("--version") == (0, f"nodus {__version__}\n", "")


def test_parsing_that_waits_is_a_bug() -> None:
    """There is no event loop then."""

    class Waits:
        def __await__(self) -> Generator[None, None, None]:
            yield

    async def parse() -> None:
        await Waits()

    with pytest.raises(RuntimeError, match="must not wait"):
        drive(parse())


def test_the_version_is_there_among_other_options(command: Command) -> None:
    """Not only as the one argument."""
    assert command("--version", "list") == (0, f"nodus {__version__}\n", "")


@pytest.mark.parametrize(
    "words", [["list", "--limit", "0"], ["list", "--status", "done"], ["list", "--all", "--limit=1"]]
)
def test_options_out_of_range_exit_2(stub: Stub, nodus: Command, words: list[str]) -> None:
    """Before anything is sent."""
    assert (nodus(*words).status, stub.requests) == (2, [])


def install(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    """Make commands of other distributions appear, by name."""
    found = [importlib.metadata.EntryPoint(name, value, "nodus.commands") for name, value in values.items()]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: found)


@asyncclick.command("greet")
@asyncclick.argument("status", type=int)
def greet(status: int) -> int:
    """Say hello."""
    asyncclick.echo("hello")
    return status


@asyncclick.command("greet")
async def greet_slowly() -> None:
    """Say hello, in a while."""
    asyncclick.echo("hello")


@asyncclick.command("greet")
async def interrupt() -> None:
    """Be interrupted."""
    raise KeyboardInterrupt


@asyncclick.command("greet")
async def leave() -> None:
    """Leave by the door that asyncclick has."""
    raise asyncclick.exceptions.Exit(7)


@asyncclick.group("greet")
def greetings() -> None:
    """Say one of several things."""


greetings.add_command(greet_slowly, "hello")


def test_a_command_of_another_distribution_is_run(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its status is the command's."""
    install(monkeypatch, greet=f"{__name__}:greet")

    assert command("greet", "5") == (5, "hello\n", "")


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("value", "words", "expected"),
    [
        ("greet_slowly", [], (0, "hello\n")),
        ("greetings", ["hello"], (0, "hello\n")),
        ("interrupt", [], (130, "")),
        ("leave", [], (7, "")),
    ],
)
def test_one_that_waits_is_run_on_an_event_loop(
    command: Command, monkeypatch: pytest.MonkeyPatch, value: str, words: list[str], expected: tuple[int, str]
) -> None:
    """Its interrupts are its own affair; what it lets through is no traceback."""
    install(monkeypatch, greet=f"{__name__}:{value}")

    result = command("greet", *words)

    assert (result.status, result.stdout) == expected


def test_the_list_of_commands_has_those_of_others(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says which of them do not load, rather than failing."""
    install(monkeypatch, greet=f"{__name__}:greet", broken="no.such.module:x", run=f"{__name__}:greet")

    result = command("--help")

    assert result.status == 0
    assert "  greet       Say hello.\n" in result.stdout
    assert "cannot be loaded from no.such.module:x" in " ".join(result.stdout.split())
    assert "  run         Submit a job.\n" in result.stdout


@pytest.mark.parametrize(
    ("value", "complaint"), [("no.such.module:x", "No module named"), ("os:getcwd", "not an asyncclick command")]
)
def test_one_that_does_not_load_exits_3(
    command: Command, monkeypatch: pytest.MonkeyPatch, value: str, complaint: str
) -> None:
    """It is the installation that is at fault."""
    install(monkeypatch, greet=value)

    result = command("greet")

    assert result.status == 3
    assert complaint in result.stderr


@pytest.mark.parametrize("words", [[], ["--port", "0"], ["--help"]])
def test_the_playground_without_the_control_plane_says_what_to_install(
    command: Command, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """It is another distribution."""
    install(monkeypatch)

    result = command("playground", *words)

    assert result.status == 3
    assert "pip install . ./control_plane" in result.stderr
    assert "wheel of nodus-control-plane" in result.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_for_the_shell(command: Command, shell: str) -> None:
    """Which asks the command itself."""
    script = command("completion", shell).stdout

    assert f"_NODUS_COMPLETE={shell}_complete" in script
    assert json.loads(command("completion", shell, "--json").stdout)["script"] + "\n" == script


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("nodus ca", {"plain,cancel"}),
        ("nodus list --st", {"plain,--status"}),
        ("nodus list --status que", {"plain,queued"}),
        ("nodus run --gpu h1", {"plain,h100_80gb"}),
        ("nodus run --require-tier neo", {"plain,neocloud"}),
        ("nodus webhooks create --event job.f", {"plain,job.failed"}),
        ("nodus webhooks listen --event budget.e", {"plain,budget.exceeded"}),
    ],
)
def test_commands_options_and_values_are_completed(
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    words: str,
    expected: set[str],
) -> None:
    """As the shell's script asks."""
    monkeypatch.setenv("_NODUS_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))

    with pytest.raises(SystemExit) as ended:
        command()

    assert ended.value.code == 0
    assert set(capfd.readouterr().out.split()) == expected


def test_the_garbage_collector_is_left_as_it_was(stub: Stub, nodus: Command) -> None:
    """It is off while the client is loaded, and not a moment longer; nothing is hidden from a host program's."""
    stub.answer("GET /healthz", Answer(200, {"status": "ok"}))
    frozen = gc.get_freeze_count()
    states = []
    try:
        for switch in (gc.disable, gc.enable):
            switch()
            nodus("health")
            states.append(gc.isenabled())
    finally:
        gc.enable()

    assert states == [False, True]
    assert gc.get_freeze_count() <= frozen


def test_a_process_of_the_commands_own_is_never_searched(stub: Stub) -> None:
    """What it loaded stays to its end, which comes the sooner."""
    stub.answer("GET /healthz", Answer(200, {"status": "ok"}))
    program = (
        "import gc\nfrom nodus._cli import main\nfrozen = gc.get_freeze_count()\nmain()\n"
        "print(gc.isenabled(), gc.get_freeze_count() > frozen)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "health"],
        env={**os.environ, "NODUS_API_KEY": API_KEY, "NODUS_BASE_URL": stub.base_url},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "ok\nTrue True\n"


def test_python_m_nodus_is_the_command() -> None:
    """For where the script is not on PATH."""
    done = subprocess.run([sys.executable, "-m", "nodus", "--version"], capture_output=True, text=True, check=True)

    assert done.stdout == f"nodus {__version__}\n"
