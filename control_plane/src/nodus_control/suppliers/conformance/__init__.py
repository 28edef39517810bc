"""The conformance suite: what every driver has to do, as tests that run on any driver and its real engine.

    from nodus_control.suppliers.conformance import DriverChecks, Subject

    class MySubject(Subject): ...      # makes the driver, and says what its engine can do

    class TestMyDriver(DriverChecks):
        @pytest.fixture
        def subject(self) -> Iterator[Subject]:
            yield MySubject()

It needs pytest, which nothing else here imports: only tests import this package. A check that an engine cannot be put
to is skipped, and says why. The guide is docs/guides/writing-a-driver.md.
"""

from .checks import DriverChecks
from .programs import Program
from .subject import Subject, Trial

__all__ = ["DriverChecks", "Program", "Subject", "Trial"]
