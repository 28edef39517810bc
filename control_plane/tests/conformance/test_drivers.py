"""The drivers whose engine is this machine pass the conformance suite."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest
from conformance.subjects import MemorySubject, ProcessSubject, SimulatedSubject

from nodus_control.suppliers.conformance import DriverChecks, Subject


class TestMemory(DriverChecks):
    """The honest driver of these tests: every check can be passed."""

    @pytest.fixture
    def subject(self) -> Subject:
        """Make one for each check."""
        return MemorySubject()


@pytest.mark.skipif(os.name != "posix", reason="the process driver needs Linux or macOS")
class TestProcess(DriverChecks):
    """Real commands."""

    @pytest.fixture
    def subject(self, tmp_path: pathlib.Path) -> Subject:
        """Make one for each check, in a directory of its own."""
        return ProcessSubject(tmp_path)


class TestSimulated(DriverChecks):
    """What is left of the checks where nothing runs."""

    @pytest.fixture
    def subject(self) -> Subject:
        """Make one for each check."""
        return SimulatedSubject()


def test_a_simulation_is_held_to_more_than_its_name() -> None:
    """Checks that are about programs are skipped, and the others are not."""
    ran, skipped = [], []
    for name in DriverChecks.names():
        try:
            getattr(DriverChecks(), name)(SimulatedSubject())
            ran.append(name)
        except pytest.skip.Exception:
            skipped.append(name)

    assert len(ran) >= 10
    assert "test_a_report_of_the_end_stays" in ran
    assert "test_output_comes_back_byte_for_byte" in skipped


def test_nothing_that_serves_loads_the_suite_or_pytest() -> None:
    """They are for tests alone: a control plane is installed without pytest."""
    program = (
        "import sys, nodus_control.cli, nodus_control.playground.command, nodus_control.testing\n"
        "import nodus_control.suppliers.process.driver, nodus_control.suppliers.simulated.driver\n"
        "loaded = {'pytest', 'nodus_control.suppliers.conformance'} & set(sys.modules)\n"
        "sys.exit(', '.join(loaded) or 0)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr
