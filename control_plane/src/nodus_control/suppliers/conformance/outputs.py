"""Checks: what a program is given, what it prints, and that no secret is seen on the way."""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Iterator

from ..protocol import CapacityRefused, EngineUnavailable, SubmissionRefused, Workload
from .beginnings import needs_programs
from .programs import Program
from .subject import Subject

BLOCK = bytes(range(256)) * 16
BLOCKS = 1280
"""Of 4 KiB each: 5 MiB, which hold every byte, and no valid UTF-8."""

ENVIRONMENT = {
    "CHECK_PLAIN": "value",
    "CHECK_EMPTY": "",
    "CHECK_LINES": "one\ntwo\r\n\nthree\n",
    "CHECK_QUOTES": """'single' "double" `back` \\ back\\slash""",
    "CHECK_SHELL": "$HOME $(echo no) ; exit 9 # & | > < * ? ! ~ { } %s %env% {env}",
    "CHECK_SPACES": "  leading, trailing\tand tabs  ",
    "CHECK_UNICODE": "Grüße, 世界 \U0001f680 é",
    "CHECK_EQUALS": "a=b=c=",
    "CHECK_LONG": "x" * 20_000,
}
ARGUMENTS = ("", "two words", "'", '"', "\n", "$HOME", "*", "-n", "--env=X=Y", "Grüße", "{image}", "\\0")


class _Heard(logging.Handler):
    """Everything that is logged while it listens."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.said: list[str] = []
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(f"{self._formatter.format(record)} {record.args!r}")


@contextlib.contextmanager
def _listening() -> Iterator[list[str]]:
    root = logging.getLogger()
    handler, level = _Heard(), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield handler.said
    finally:
        root.setLevel(level)
        root.removeHandler(handler)


class OutputChecks:
    """Output, environment, arguments and secrets."""

    def test_output_comes_back_byte_for_byte(self, subject: Subject) -> None:
        """5 MiB that are no valid UTF-8, read in pieces that fit no boundary."""
        needs_programs(subject)
        program = Program(prints=BLOCK, times=BLOCKS)
        trial = subject.trial(program).submit()
        trial.complete()
        read, expected = trial.output(limit=99_991), program.output({})
        if read != expected:
            both = zip(read, expected, strict=False)
            same = next((at for at, (one, other) in enumerate(both) if one != other), min(len(read), len(expected)))
            raise AssertionError(f"of {len(expected)} bytes, {len(read)} came, which differ from byte {same} on")

    def test_both_streams_are_kept(self, subject: Subject) -> None:
        """What a program prints to its standard error is output too."""
        needs_programs(subject)
        trial = subject.trial(Program(prints=b"said", complains=b"complained")).submit()
        trial.complete()
        output = trial.output()
        assert b"said" in output, "what a program prints to its standard output is lost"
        assert b"complained" in output, "what a program prints to its standard error is lost"

    def test_output_is_complete_at_the_end_and_not_before(self, subject: Subject) -> None:
        """Whoever follows it stops then, and misses nothing."""
        needs_programs(subject)
        trial = subject.trial(Program(prints=b"begun", seconds=3)).submit().until_begun()
        before = trial.chunk()
        if trial.poll().finished_at is None:
            assert not before.complete, "output is said to be complete while its program runs"
        trial.complete()
        assert trial.output() == b"begun", "what was printed is not what is there"
        total = trial.chunk().total
        beyond = trial.chunk(total)
        assert beyond.data == b"", "there is output beyond its end"
        assert beyond.complete, "output that is read to its end is not complete"

    def test_output_is_followed_while_the_program_runs(self, subject: Subject) -> None:
        """What is printed is there before the end; a line that is not finished, an engine may keep back until then."""
        needs_programs(subject)
        trial = subject.trial(Program(prints=b"begun\n", seconds=3000)).submit().until_begun()
        expected = subject.preamble(trial.workload) + b"begun\n"
        subject.eventually(lambda: trial.chunk().data == expected, "to read what a running program printed")
        trial.cancel()
        trial.finish()

    def test_outputs_are_kept_apart(self, subject: Subject) -> None:
        """Of two jobs, and of two attempts of one job."""
        needs_programs(subject)
        driver, first = subject.make_driver(), subject.placement()
        second = subject.placement(job_id=first.job_id, attempt=2)
        trials = {
            f"output {number}".encode(): subject.trial(Program(), driver=driver, placement=placement)
            for number, placement in enumerate((first, second, subject.placement()))
        }
        for text, trial in trials.items():
            trial.workload = subject.workload(Program(prints=text), trial.placement)
            trial.submit()
        for trial in trials.values():
            trial.complete()
        for text, trial in trials.items():
            assert trial.output() == text, "the output of one placement holds another's"

    def test_variables_reach_the_program_as_they_are(self, subject: Subject) -> None:
        """Line breaks, quotes, the empty text, what a shell would act on, and text in any script."""
        needs_programs(subject)
        program = Program(shows=tuple(ENVIRONMENT))
        trial = subject.trial(program, env=ENVIRONMENT).submit()
        trial.complete()
        read, expected = trial.output().split(b"\0"), program.output(ENVIRONMENT).split(b"\0")
        wrong = [each.partition(b"=")[0].decode() for each in expected if each not in read]
        assert not wrong, f"variables came to the program with other values: {', '.join(wrong)}"

    def test_arguments_reach_the_program_as_they_are(self, subject: Subject) -> None:
        """Each as one word, whatever is in it: nothing of a job goes through a shell unquoted."""
        needs_programs(subject)
        program = Program(arguments=ARGUMENTS)
        trial = subject.trial(program).submit()
        trial.complete()
        assert trial.output() == program.output({}), "words of the command came to the program as others"

    def test_secrets_are_seen_nowhere(self, subject: Subject) -> None:
        """Values of variables and words of the command stand in no name, log, error or description."""
        needs_programs(subject)
        secret = f"secret{uuid.uuid4().hex}"
        env = {"CHECK_TOKEN": f"t-{secret}"}
        driver = subject.make_driver()
        with _listening() as said:
            good = subject.trial(Program(arguments=(secret,), exit_code=7), driver=driver, env=env)
            bad = subject.trial(Program(), driver=driver)
            bad.workload = _unrunnable(good.workload, secret)
            for trial in (good, bad):
                try:
                    trial.submit()
                    said.append(repr(trial.finish()))
                except (CapacityRefused, EngineUnavailable, SubmissionRefused) as exc:
                    said.append(f"{exc!r} {vars(exc)!r} {exc.__cause__!r}")
                said += [repr(trial.placement), repr(trial.workload), repr(trial.reports)]
            said += [repr(driver), str(driver), repr(list(driver.list_placements()))]
        told = [each for each in said if secret in each]
        assert not told, f"a secret of a job was told: {told[0].replace(secret, '<the secret>')[:400]}"


def _unrunnable(workload: Workload, secret: str) -> Workload:
    """Return it with a command that no engine finds."""
    return Workload(
        workload.image,
        workload.gpu,
        workload.gpu_count,
        workload.max_runtime_seconds,
        (f"/no/such/program/{secret}", secret),
        {"CHECK_TOKEN": secret},
    )
