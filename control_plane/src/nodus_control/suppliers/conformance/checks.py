"""All checks of a driver, as one class to subclass."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .beginnings import BeginningChecks
from .endings import EndingChecks
from .outputs import OutputChecks
from .records import RecordChecks
from .subject import Subject


class DriverChecks(BeginningChecks, EndingChecks, OutputChecks, RecordChecks):
    """What every driver has to do. A subclass, named `Test…`, has a fixture `subject` that makes one."""

    @pytest.fixture(autouse=True)
    def _ends_what_it_began(self, subject: Subject) -> Iterator[None]:
        """Leave nothing running on the engine."""
        yield
        subject.end_all()

    @classmethod
    def names(cls) -> list[str]:
        """Return the names of all checks."""
        return sorted(name for name in dir(cls) if name.startswith("test_"))
