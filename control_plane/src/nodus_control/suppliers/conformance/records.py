"""Checks: names, references, lists, phases, and what is left of a placement in the end."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from ..protocol import PlacementState
from .beginnings import needs_programs
from .programs import Program
from .subject import UNFINISHED, Subject, Trial

_PHASE = re.compile(r"[a-z][a-z_]{0,31}")
_LONG = 3000.0


def _is_listed(trial: Trial) -> bool:
    placement = trial.placement
    return any(
        (each.job_id, each.attempt) == (placement.job_id, placement.attempt) for each in trial.driver.list_placements()
    )


class RecordChecks:
    """Identity, engine references, lists, forgetting and phases."""

    def test_a_driver_names_itself(self, subject: Subject) -> None:
        """One short word, the same for every instance, and whether it runs commands."""
        drivers = [subject.make_driver() for _ in range(2)]
        assert _PHASE.fullmatch(drivers[0].name), f"{drivers[0].name!r} is no short word"
        assert len({driver.name for driver in drivers}) == 1, "two instances have two names"
        assert drivers[0].runs_commands is subject.runs_programs, "it says wrongly whether commands really run"

    def test_an_engine_keeps_its_identity(self, subject: Subject) -> None:
        """Every instance gives the same, at any time, and another engine has another."""
        drivers = [subject.make_driver() for _ in range(2)]
        identity = drivers[0].identity()
        subject.trial(Program(), driver=drivers[0]).submit().finish()
        assert all(driver.identity() == identity for driver in drivers), "an engine changed its identity"
        elsewhere = subject.make_driver_elsewhere()
        if elsewhere is not None:
            assert elsewhere.identity() != identity, "two engines have one identity"

    def test_an_unknown_placement_has_not_completed(self, subject: Subject) -> None:
        """One that was never submitted, and one that the engine has lost although it was seen to run."""
        now = subject.now()
        never = subject.trial(Program())
        lost = subject.trial(Program())
        lost.placement = replace(lost.placement, is_accepted=True, started_at=now)
        for trial in (never, lost):
            for _ in range(2):
                state = trial.poll().state
                assert state is not PlacementState.COMPLETED, "a placement that nobody knows is said to have completed"

    def test_a_wrong_reference_is_not_believed(self, subject: Subject) -> None:
        """Engines use ids again: what an id leads to is ours only where its name says so."""
        needs_programs(subject)
        driver = subject.make_driver()
        ended = subject.trial(Program(exit_code=9), driver=driver).submit()
        ended.finish()
        running = subject.trial(Program(seconds=_LONG), driver=driver).submit().until_begun()
        references = [trial.placement.engine_ref for trial in (ended, running)]
        if None in references:
            pytest.skip("this driver gives no references")
        misled = running.seen_by(driver)
        misled.placement = replace(running.placement, engine_ref=references[0])
        assert misled.poll().state in UNFINISHED, "by the reference of another placement, a running one is over"
        third = subject.trial(Program(seconds=_LONG), driver=driver).submit().until_begun()
        third.placement = replace(third.placement, engine_ref=references[1])
        third.cancel()
        assert running.poll().state in UNFINISHED, "cancelling one placement by another's reference ended the other"
        third.driver.forget(replace(ended.placement, engine_ref=references[1]))
        assert _is_listed(running), "forgetting one placement by another's reference removed the other"

    def test_a_list_names_what_there_is(self, subject: Subject) -> None:
        """What runs and what has ended, by job and attempt, with whose it is and when it was made."""
        needs_programs(subject)
        driver = subject.make_driver()
        ended = subject.trial(Program(), driver=driver).submit()
        ended.complete()
        running = subject.trial(
            Program(seconds=_LONG), driver=driver, placement=subject.placement(job_id=ended.placement.job_id, attempt=2)
        )
        running.submit().until_begun()
        found = {(each.job_id, each.attempt): each for each in subject.make_driver().list_placements()}
        strange = {attempt for job_id, attempt in found if job_id == ended.placement.job_id} - {1, 2}
        assert not strange, f"the list names attempts that never were: {strange}"
        there = found.get((running.placement.job_id, 2))
        assert there is not None, "the list misses a placement that runs"
        assert there.is_running, "the list says of a placement that runs that it does not"
        over = found.get((ended.placement.job_id, 1))
        assert over is not None, "the list misses a placement that has ended and is not forgotten"
        for each, trial in ((there, running), (over, ended)):
            whose = (each.database_id, each.incarnation)
            assert whose == (subject.database_id, subject.incarnation), f"a placement is said to be of {whose}"
            since = each.created_at - trial.submitted_at
            assert since >= -subject.tolerance_seconds, f"it was made {-since:g} s before it was submitted"
            assert each.created_at <= subject.now() + subject.tolerance_seconds, "it was made in the future"

    def test_what_is_forgotten_is_gone(self, subject: Subject) -> None:
        """From the list too; forgetting again, or what never was, does nothing."""
        trial = subject.trial(Program()).submit()
        trial.complete()
        for _ in range(2):
            trial.driver.forget(trial.placement)
        subject.make_driver().forget(trial.placement)
        trial.driver.forget(subject.placement())
        subject.eventually(lambda: not _is_listed(trial), "to see a forgotten placement gone from the list")

    def test_phases_are_short_words(self, subject: Subject) -> None:
        """Said only before the program runs; the sentence about one is apart from it."""
        subject.delay_starts(2.0)
        trial = subject.trial(Program(seconds=1)).submit()
        trial.finish()
        for report in trial.reports:
            phase = report.phase
            assert phase is None or _PHASE.fullmatch(phase), f"the phase {phase!r} is no short word"
            is_before = report.state is PlacementState.PROVISIONING
            assert phase is None or is_before, f"a phase is told of a placement that is {report.state.value}"
