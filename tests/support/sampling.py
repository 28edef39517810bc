"""Which of the tests a run takes: one share of them, and of each campaign a sample.

A campaign tries the same rule on hundreds of cases. A function marked `campaign(n)` has one in `n` of its cases tried
by every run; the others are marked `soak` and tried before a release, by `nox -s soak`. Nothing is chosen by chance:
the same cases are tried on every machine. `NODUS_TESTS=whole` tries them all.
"""

from __future__ import annotations

import os
import zlib
from collections import Counter
from pathlib import Path

import pytest

WHOLE_VARIABLE = "NODUS_TESTS"


def pytest_configure(config: pytest.Config) -> None:
    """Describe the mark."""
    config.addinivalue_line("markers", "campaign(n): of the function's cases one in n, an odd number, is in every run")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--share K/N` runs one of N shares of the files; each is in one of them, on every machine the same."""
    parser.addoption("--share", metavar="K/N", help="run only the K-th of N shares of the files with tests, from 1 on")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the files of other shares, which are not even imported: there are hundreds."""
    share, path = config.getoption("--share"), collection_path
    if share is None or not path.name.startswith("test_") or not path.is_relative_to(config.rootpath):
        return None
    number, count = map(int, str(share).split("/"))
    return None if share_of(path.relative_to(config.rootpath).as_posix(), count) == number else True


# Before the marks are looked at: what is left to `soak` here is deselected by `-m "not soak"`.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave to `soak` what is not in a campaign's sample, and leave out what is in other shares."""
    if not runs_whole():
        leave_to_soak(items)
    share = config.getoption("--share")
    if share is not None:  # A file that was named is collected in any case.
        number, count = map(int, str(share).split("/"))
        others = [item for item in items if share_of(file_of(item.nodeid), count) != number]
        config.hook.pytest_deselected(items=others)
        kept = set(items).difference(others)
        items[:] = [item for item in items if item in kept]


def runs_whole() -> bool:
    """Whether this run takes all cases, as one before a release does."""
    return os.environ.get(WHOLE_VARIABLE) == "whole"


def leave_to_soak(items: list[pytest.Item]) -> None:
    """Mark the cases of campaigns that are not in every run. The first case of a function always is."""
    seen: Counter[str] = Counter()
    for item in items:
        campaign = item.get_closest_marker("campaign")
        if campaign is None:
            continue
        (one_in,) = campaign.args
        # The last parameters vary fastest, such as the two event loops: an even step would always meet the same one.
        assert one_in % 2 == 1, f"{item.nodeid}: campaign({one_in}) is even"
        function = function_of(item.nodeid)
        if seen[function] % one_in:
            item.add_marker("soak")
        seen[function] += 1


def share_of(name: str, count: int) -> int:
    """The share that a file, or a function, is in."""
    return zlib.crc32(name.encode()) % count + 1


def file_of(nodeid: str) -> str:
    """The file that a test is in."""
    return nodeid.partition("::")[0]


def function_of(nodeid: str) -> str:
    """A test's name without its parameters."""
    return nodeid.partition("[")[0]
