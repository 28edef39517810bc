"""A word at the end of a run on the crashes that there were, so that they can be had again."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each campaign, whether it went well or not."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            said = [value for name, value in getattr(report, "user_properties", ()) if name == "crashes"]
            if said and report.when == "call":
                terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {'; '.join(said)}")
