"""Drivers with one fault each, as whoever writes a driver may make it, and the checks that are there for that fault."""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace

from conformance.memory import Container, MemoryDriver, MemoryEngine

from nodus_control.suppliers.protocol import (
    EngineUnavailable,
    Found,
    LogChunk,
    Placement,
    PlacementState,
    Report,
    Workload,
    always,
)

_logger = logging.getLogger(__name__)


class StartsTwice(MemoryDriver):
    """Takes a repeated submission for a new one while the first still runs."""

    def submit(self, placement: Placement, workload: Workload, now: float, holds: Callable[[], bool] = always) -> None:
        """Run it once more."""
        found = self.engine.find(self.name_of(placement))
        if found is not None and found.starts_at is not None and found.course(self.engine.now()).ended_at is None:
            twin = self.engine.create(f"twin-{uuid.uuid4().hex}", placement, workload, self.owner)
            assert twin is not None
            self.engine.start(twin)
        super().submit(placement, workload, now, holds)


class StartsWhatHasEnded(MemoryDriver):
    """Removes what has ended to make room for its successor, as if that were another attempt."""

    def submit(self, placement: Placement, workload: Workload, now: float, holds: Callable[[], bool] = always) -> None:
        """Run it again."""
        found = self.engine.find(self.name_of(placement))
        if found is not None and found.course(self.engine.now()).ended_at is not None:
            self.engine.remove(found)
        super().submit(placement, workload, now, holds)


class ForgetsToHold(MemoryDriver):
    """Does not ask whether its caller still holds the claim."""

    def may_start(self, holds: Callable[[], bool]) -> bool:
        """Never mind."""
        return True


class StartsWhatAnotherStarted(MemoryDriver):
    """Looks, asks whether its caller still holds the claim, and does not look again."""

    def submit(self, placement: Placement, workload: Workload, now: float, holds: Callable[[], bool] = always) -> None:
        """Start the program a second time, if another did meanwhile."""
        before = self.engine.find(self.name_of(placement))
        super().submit(placement, workload, now, holds)
        after = self.engine.find(self.name_of(placement))
        if holds is not always and before is None and after is not None and after.start_calls > 1:
            twin = self.engine.create(f"twin-{uuid.uuid4().hex}", placement, workload, self.owner)
            assert twin is not None
            self.engine.start(twin)


class NamesItselfInSentences(MemoryDriver):
    """Has a name that stands in no file."""

    @property
    def name(self) -> str:
        """Say it all."""
        return "The memory driver, version 2"


class DropsWhatItCannotSend(MemoryDriver):
    """Begins later what it cannot begin now, and forgets to."""

    def submit(self, placement: Placement, workload: Workload, now: float, holds: Callable[[], bool] = always) -> None:
        """Say nothing."""
        with contextlib.suppress(EngineUnavailable):
            super().submit(placement, workload, now, holds)


class LosesTheExitCode(MemoryDriver):
    """Knows that a program failed, and not with what."""

    def report(self, container: Container, now: float) -> Report:
        """Leave it out."""
        report = super().report(container, now)
        if report.error_code == "nonzero_exit":
            return replace(report, error_message="the program exited with code 1")
        return report


class BelievesAWrongReference(MemoryDriver):
    """Takes the engine's id for the placement, whatever it leads to by now."""

    def locate(self, placement: Placement) -> Container | None:
        """Do not look at the name."""
        found = None if placement.engine_ref is None else self.engine.get(placement.engine_ref)
        return found or self.engine.find(self.name_of(placement))


class SwallowsOutput(MemoryDriver):
    """Decodes what it reads."""

    def printed(self, container: Container) -> bytes:
        """Drop what is no text."""
        return super().printed(container).decode("utf-8", errors="ignore").encode()


class SwallowsStandardError(MemoryDriver):
    """Asks for one of the two streams."""

    def printed(self, container: Container) -> bytes:
        """Leave out what stands in the other."""
        program = container.program
        complained = b"" if program is None else program.complains
        return super().printed(container).removesuffix(complained)


class TakesAKillForAnEnd(MemoryDriver):
    """Looks for exit codes that a program can give itself."""

    def report(self, container: Container, now: float) -> Report:
        """Take what is above these for none."""
        report = super().report(container, now)
        if container.course(self.engine.now()).code == 137:
            return replace(report, state=PlacementState.COMPLETED, error_code=None)
        return report


class WaitsForWhatIsNotThere(MemoryDriver):
    """Waits for a program to begin that never does."""

    def report(self, container: Container, now: float) -> Report:
        """Go on waiting, until it is cancelled."""
        report = super().report(container, now)
        is_there = container.program is not None or container.stop_asked_at is not None
        return report if is_there else Report(PlacementState.PROVISIONING)


class BillsTheWait(MemoryDriver):
    """Counts from the creation on."""

    def report(self, container: Container, now: float) -> Report:
        """Begin too early."""
        report = super().report(container, now)
        return report if report.started_at is None else replace(report, started_at=container.created_at)


class SaysCompletedForUnknown(MemoryDriver):
    """Takes what is gone for what has ended well."""

    def report_missing(self, placement: Placement) -> Report:
        """Hope for the best, unless it was certainly never begun."""
        report = super().report_missing(placement)
        if placement.started_at is None:
            return report
        return replace(report, state=PlacementState.COMPLETED)


class IgnoresCancel(MemoryDriver):
    """Leaves it to the worker's patience."""

    def cancel(self, placement: Placement, now: float) -> None:
        """Do nothing to what runs."""


class SparesWhatIgnoresTerm(MemoryDriver):
    """Asks a program to end, and leaves it at that."""

    def cancel(self, placement: Placement, now: float) -> None:
        """Ask only what listens."""
        found = self.locate(placement)
        if found is None or found.program is None or not found.program.ignores_term:
            super().cancel(placement, now)


class CancelsWhatHasEnded(MemoryDriver):
    """Reports as cancelled whatever was cancelled, and when."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._cancelled: set[tuple[str, int]] = set()

    def cancel(self, placement: Placement, now: float) -> None:
        """Remember."""
        super().cancel(placement, now)
        self._cancelled.add((placement.job_id, placement.attempt))

    def report(self, container: Container, now: float) -> Report:
        """Say so."""
        report = super().report(container, now)
        key = (container.placement.job_id, container.placement.attempt)
        if key in self._cancelled and report.state is PlacementState.COMPLETED:
            return replace(report, state=PlacementState.CANCELLED)
        return report


class LeaksSecretsInErrors(MemoryDriver):
    """Quotes the command that it could not find."""

    def report(self, container: Container, now: float) -> Report:
        """Quote it."""
        report = super().report(container, now)
        if container.program is None and report.error_message:
            return replace(report, error_message=f"{report.error_message}: {(container.workload.command or [''])[0]}")
        return report


class LeaksSecretsInLogs(MemoryDriver):
    """Logs what it submits, for debugging."""

    def submit(self, placement: Placement, workload: Workload, now: float, holds: Callable[[], bool] = always) -> None:
        """Log it."""
        _logger.debug("submitting %s with %s", placement.job_id, dict(workload.env))
        super().submit(placement, workload, now, holds)


class LeaksSecretsInItsName(MemoryDriver):
    """Describes itself with what it has run."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._last: object = None

    def submit(self, placement: Placement, workload: Workload, now: float, holds: Callable[[], bool] = always) -> None:
        """Remember it."""
        self._last = workload.command
        super().submit(placement, workload, now, holds)

    def __repr__(self) -> str:
        return f"LeaksSecretsInItsName({self._last!r})"


class MixesOutputs(MemoryDriver):
    """Files output under the job, whichever attempt it is of."""

    def logs(self, placement: Placement, offset: int, limit: int) -> LogChunk:
        """Read the first attempt's."""
        first = replace(placement, attempt=1, engine_ref=None)
        is_there = self.engine.find(self.name_of(first)) is not None
        return super().logs(first if is_there else placement, offset, limit)


class EndsBeforeItStarts(MemoryDriver):
    """Takes the two times for each other."""

    def report(self, container: Container, now: float) -> Report:
        """Swap them where a program ended by itself."""
        report = super().report(container, now)
        if report.state is PlacementState.COMPLETED:
            return replace(report, started_at=report.finished_at, finished_at=report.started_at)
        return report


class RunsOverItsLimit(MemoryDriver):
    """Gives the engine no limit."""

    def submit(self, placement: Placement, workload: Workload, now: float, holds: Callable[[], bool] = always) -> None:
        """Take the limit away."""
        super().submit(placement, replace(workload, max_runtime_seconds=1 << 30), now, holds)


class NeverForgets(MemoryDriver):
    """Leaves what has ended to whoever cleans up."""

    def forget(self, placement: Placement) -> None:
        """Do nothing."""


class LosesLineBreaks(MemoryDriver):
    """Hands variables over in a file with one on each line."""

    def submit(self, placement: Placement, workload: Workload, now: float, holds: Callable[[], bool] = always) -> None:
        """Cut them."""
        env = {name: (value.splitlines() or [""])[0] for name, value in workload.env.items()}
        super().submit(placement, replace(workload, env=env), now, holds)


class SplitsArguments(MemoryDriver):
    """Puts the command together as a line of shell."""

    def submit(self, placement: Placement, workload: Workload, now: float, holds: Callable[[], bool] = always) -> None:
        """Lose what is empty, and cut what has spaces."""
        command = workload.command or ()
        words = [part for word in command[2:] for part in word.split()]
        super().submit(placement, replace(workload, command=(*command[:2], *words)), now, holds)


class RunsWithoutItsGpu(MemoryDriver):
    """Does not look at what it was given."""

    def has_its_gpus(self, container: Container) -> bool:
        """Believe it."""
        return True


class TakesSilenceForAnEnd(MemoryDriver):
    """Calls what it cannot ask about lost."""

    def poll(self, placement: Placement, workload: Workload, now: float) -> Report:
        """Give up."""
        try:
            return super().poll(placement, workload, now)
        except EngineUnavailable:
            return Report(PlacementState.LOST, placement.started_at, now)


class RemembersTooLong(MemoryDriver):
    """Says of what ran that it runs, for a minute after the engine last said so."""

    def __init__(self, engine: MemoryEngine, **more: str) -> None:
        super().__init__(engine, **more)
        self._said: dict[str, tuple[Report, float]] = {}

    def poll(self, placement: Placement, workload: Workload, now: float) -> Report:
        """Say it again."""
        try:
            report = super().poll(placement, workload, now)
        except EngineUnavailable:
            said, said_at = self._said.get(placement.job_id, (None, 0.0))
            if said is None or now - said_at > 60.0:
                raise
            return said
        if report.state is PlacementState.RUNNING:
            self._said[placement.job_id] = report, now
        return report


class ChangesItsMind(MemoryDriver):
    """Reports the end as of now, whenever that is."""

    def report(self, container: Container, now: float) -> Report:
        """Let the end of what was cancelled move on."""
        report = super().report(container, now)
        if report.state is PlacementState.CANCELLED and report.started_at is not None:
            return replace(report, finished_at=self.engine.now())
        return report


class CompletesTooSoon(MemoryDriver):
    """Calls output complete once all of it that is there is read."""

    def is_all(self, container: Container, read: int, total: int) -> bool:
        """Never mind whether the program runs."""
        return read >= total


class ShowsOutputAtTheEnd(MemoryDriver):
    """Fetches output once the program is over."""

    def printed(self, container: Container) -> bytes:
        """Wait for it."""
        has_ended = container.course(self.engine.now()).ended_at is not None
        return super().printed(container) if has_ended else b""


class HasAnotherNameEachTime(MemoryDriver):
    """Makes up its engine's identity."""

    def identity(self) -> str | None:
        """Make it up."""
        return uuid.uuid4().hex


class ListsOthersAsOurs(MemoryDriver):
    """Takes everything on the engine for this database's."""

    def describe(self, container: Container) -> Found:
        """Leave the incarnation out."""
        return replace(super().describe(container), incarnation="")


class ListsWhatRunsOnly(MemoryDriver):
    """Lists as `docker ps` does."""

    def list_placements(self) -> Sequence[Found]:
        """Leave out what has ended."""
        return [found for found in super().list_placements() if found.is_running]


class SpeaksInSentences(MemoryDriver):
    """Hands on what the engine says."""

    def report(self, container: Container, now: float) -> Report:
        """Say it."""
        report = super().report(container, now)
        return report if report.phase is None else replace(report, phase="Waiting for resources (Priority).")


CANCELLATIONS = frozenset(
    {
        "test_a_cancellation_ends_a_program",
        "test_a_cancellation_ends_a_program_that_ignores_sigterm",
        "test_a_cancellation_may_be_repeated",
        "test_a_report_of_the_end_stays",
        "test_output_is_followed_while_the_program_runs",
    }
)

FAULTS: dict[type[MemoryDriver], frozenset[str]] = {
    StartsTwice: frozenset(
        {
            "test_a_program_outlives_the_driver_that_began_it",
            "test_a_repeated_submission_begins_nothing",
            "test_eight_submissions_at_once_begin_one_program",
        }
    ),
    StartsWhatHasEnded: frozenset({"test_a_submission_after_the_end_begins_nothing"}),
    ForgetsToHold: frozenset(
        {
            "test_a_claim_that_is_lost_meanwhile_begins_nothing",
            "test_a_submission_after_the_end_begins_nothing",
            "test_what_is_cancelled_before_it_is_submitted_never_begins",
            "test_whoever_lost_the_claim_begins_nothing",
        }
    ),
    StartsWhatAnotherStarted: frozenset({"test_two_submissions_one_within_the_other_begin_one_program"}),
    NamesItselfInSentences: frozenset({"test_a_driver_names_itself"}),
    DropsWhatItCannotSend: frozenset({"test_a_submission_while_the_engine_is_away_begins_one_program_or_none"}),
    LosesTheExitCode: frozenset({"test_an_exit_code_is_the_programs_own"}),
    BelievesAWrongReference: frozenset({"test_a_wrong_reference_is_not_believed"}),
    SwallowsOutput: frozenset({"test_output_comes_back_byte_for_byte"}),
    SwallowsStandardError: frozenset({"test_both_streams_are_kept"}),
    TakesAKillForAnEnd: frozenset({"test_a_program_that_is_killed_has_failed"}),
    WaitsForWhatIsNotThere: frozenset({"test_a_command_that_is_not_there_has_failed", "test_secrets_are_seen_nowhere"}),
    BillsTheWait: frozenset({"test_a_wait_in_the_engine_is_not_billed"}),
    SaysCompletedForUnknown: frozenset({"test_an_unknown_placement_has_not_completed"}),
    IgnoresCancel: CANCELLATIONS,
    SparesWhatIgnoresTerm: frozenset({"test_a_cancellation_ends_a_program_that_ignores_sigterm"}),
    CancelsWhatHasEnded: frozenset({"test_a_cancellation_after_the_end_changes_nothing"}),
    LeaksSecretsInErrors: frozenset({"test_secrets_are_seen_nowhere"}),
    LeaksSecretsInLogs: frozenset({"test_secrets_are_seen_nowhere"}),
    LeaksSecretsInItsName: frozenset({"test_secrets_are_seen_nowhere"}),
    MixesOutputs: frozenset({"test_outputs_are_kept_apart"}),
    EndsBeforeItStarts: frozenset({"test_times_are_in_order_and_the_length_is_true"}),
    RunsOverItsLimit: frozenset({"test_a_program_over_its_limit_is_ended"}),
    NeverForgets: frozenset({"test_what_is_forgotten_is_gone"}),
    LosesLineBreaks: frozenset({"test_variables_reach_the_program_as_they_are"}),
    SplitsArguments: frozenset({"test_arguments_reach_the_program_as_they_are"}),
    RunsWithoutItsGpu: frozenset({"test_a_gpu_that_is_not_there_is_not_gone_without"}),
    TakesSilenceForAnEnd: frozenset({"test_an_engine_that_is_away_is_not_an_end"}),
    RemembersTooLong: frozenset({"test_an_engine_that_is_away_is_not_an_end"}),
    ChangesItsMind: frozenset({"test_a_report_of_the_end_stays"}),
    CompletesTooSoon: frozenset({"test_output_is_complete_at_the_end_and_not_before"}),
    ShowsOutputAtTheEnd: frozenset({"test_output_is_followed_while_the_program_runs"}),
    HasAnotherNameEachTime: frozenset({"test_an_engine_keeps_its_identity"}),
    ListsOthersAsOurs: frozenset({"test_a_list_names_what_there_is"}),
    ListsWhatRunsOnly: frozenset({"test_a_list_names_what_there_is"}),
    SpeaksInSentences: frozenset({"test_phases_are_short_words"}),
}
"""Each fault, and exactly the checks that fail for it."""
