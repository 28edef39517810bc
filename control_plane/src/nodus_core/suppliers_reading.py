"""Reads a suppliers file: strictly, and with every mistake at once, each with its line and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, cast

from .driver_sections import HAS_SLOTS, read_options
from .suppliers_file import (
    DEFAULT_RETRY_AFTER_LOSS,
    DEFAULT_START_DEADLINE_SECONDS,
    GPU_NAME,
    DriverName,
    SupplierEntry,
    SupplierKind,
    SuppliersFile,
)
from .toml import InvalidToml, read_toml
from .toml_lines import lines_of
from .toml_sections import Findings, Problem, Section, as_micros, is_integer

GPU_NAME_MEANING = "a GPU model: 1 to 64 of a-z, 0-9 and _"
MOST_GPUS = 65_536

_PRICE_MEANING = "a price in USD for an hour of one GPU, 0 or more, with at most six decimals"
_NAME = re.compile(r"[a-z0-9-]{1,63}")
_RESERVED_NAMES = ("legacy-process",)
_REGION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_LONGEST_START_SECONDS = 86_400
_MOST_RETRIES = 100
_LONGEST_GRACE_SECONDS = 366 * 86_400
_SYNTAX_AT = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)\Z")


class InvalidSuppliersFile(Exception):
    """A suppliers file that cannot be used.

    Attributes:
        name: what the file is called.
        problems: all that is wrong with it, by line.
    """

    def __init__(self, name: str, problems: tuple[Problem, ...]) -> None:
        super().__init__(name, problems)
        self.name = name
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(f"{self.name}:{problem.line}: {problem.message}" for problem in self.problems)


def read_suppliers(text: str, name: str) -> SuppliersFile:
    """Read the text of a suppliers file.

    Args:
        text: TOML.
        name: what messages call the file.

    Raises:
        InvalidSuppliersFile: something in it is wrong; all of that is named.
    """
    try:
        document = read_toml(text, Decimal)
    except InvalidToml as exc:
        raise InvalidSuppliersFile(name, (_syntax_problem(str(exc), text),)) from None
    except (RecursionError, ValueError):
        # ValueError: a number of thousands of digits.
        raise InvalidSuppliersFile(name, (Problem(1, "this is no TOML that can be read."),)) from None
    findings = Findings(lines_of(text))
    whole = Section(findings, document, (), "the file")
    retail = _retail(whole.section("retail", "[retail]"))
    entries = _entries(whole, findings)
    whole.close({"suppliers": "`suppliers` is no key here: each supplier begins with a line [[supplier]]."})
    if findings.problems:
        raise InvalidSuppliersFile(name, tuple(sorted(set(findings.problems))))
    return SuppliersFile(entries, retail)


def _syntax_problem(message: str, text: str) -> Problem:
    """Make a problem of what the parser says, which has the line in its text only."""
    found = _SYNTAX_AT.search(message)
    if found is None:
        return Problem(1, f"not TOML: {message}.")
    line = int(found[1]) if found[1] else text.rstrip("\n").count("\n") + 1
    return Problem(line, f"not TOML: {message[: found.start()]}.")


def _retail(section: Section) -> Mapping[str, int]:
    prices = section.mapping("usd_per_gpu_hour", GPU_NAME, GPU_NAME_MEANING, as_micros, _PRICE_MEANING)
    section.close()
    return prices or {}


def _entries(whole: Section, findings: Findings) -> tuple[SupplierEntry, ...]:
    given = whole.take("supplier")
    if given is None:
        whole.report(None, "there is no supplier: each begins with a line [[supplier]].")
        return ()
    if not isinstance(given, list) or not given or not all(isinstance(each, dict) for each in given):
        whole.report("supplier", "`supplier` must be a list of tables: each begins with a line [[supplier]].")
        return ()
    entries = []
    places: dict[str, int] = {}
    for position, table in enumerate(cast("list[dict[str, Any]]", given)):
        shown = _shown(table.get("name"), position)
        section = Section(findings, table, ("supplier", position), shown)
        entry = _entry(section)
        if entry.name in places and section.has("name"):
            section.report(
                "name", f"`name` is that of supplier {places[entry.name]} of this file too: give each its own."
            )
        places.setdefault(entry.name, position + 1)
        entries.append(entry)
    return tuple(entries)


def _shown(name: object, position: int) -> str:
    is_name = isinstance(name, str) and _NAME.fullmatch(name)
    return f'supplier "{name}"' if is_name else f"supplier {position + 1}"


def _entry(section: Section) -> SupplierEntry:
    """Read an entry; what is wrong in it is reported, and the value that is returned is of no use then."""
    section.require("name", "1 to 63 of a-z, 0-9 and -, unique in this file")
    name = section.string("name", _NAME, "1 to 63 of a-z, 0-9 and -")
    if name in _RESERVED_NAMES:
        section.report("name", f"`name` must be another: {name} stands for what ran before there was this file.")
    section.require("kind", "own, neocloud, tier3 or hyperscaler")
    kind = section.choice("kind", [kind.value for kind in reversed(SupplierKind)], SupplierKind.OWN.value)
    section.require("driver", f"one of {', '.join(driver.value for driver in DriverName)}")
    driver = _driver(section)
    regions = _regions(section, driver)
    prices = _prices(section)
    gpus = _gpus(section, driver, prices)
    entry = SupplierEntry(
        name=name or "",
        kind=SupplierKind(kind),
        regions=regions,
        driver=driver or DriverName.SIMULATED,
        gpus=gpus,
        micros_per_gpu_hour=prices,
        options=read_options(section, driver, gpus, prices),
        start_deadline_seconds=_start_deadline(section, driver),
        retry_after_loss=section.integer(
            "retry_after_loss",
            (0, _MOST_RETRIES),
            0 if driver is DriverName.SIMULATED else DEFAULT_RETRY_AFTER_LOSS,
        ),
        unknown_grace_seconds=_unknown_grace(section, driver),
    )
    section.close()
    return entry


def _driver(section: Section) -> DriverName | None:
    """Read the driver; None where it is missing or none, so that nothing is said of what depends on it."""
    if not section.has("driver"):
        section.take("driver")
        return None
    written = section.choice("driver", [driver.value for driver in DriverName], "")
    return DriverName(written) if written else None


def _regions(section: Section, driver: DriverName | None) -> tuple[str, ...]:
    section.require("regions", 'a list of at least one name, such as ["basement"]')
    regions = section.strings("regions", _REGION, "a name of 1 to 128 letters, digits, '.', '_' and '-'")
    if regions is None:
        return ()
    if not regions:
        section.report("regions", "`regions` must have at least one name.")
    elif len(set(regions)) < len(regions):
        section.report("regions", "`regions` must not have a name twice.")
    elif driver is not None and driver in HAS_SLOTS and len(regions) > 1:
        section.report(
            "regions",
            f"`regions` must have exactly one name with the driver `{driver.value}`: make a supplier of each engine.",
        )
    return regions


def _prices(section: Section) -> dict[str, int]:
    section.require("usd_per_gpu_hour", "what it costs, such as { h100_80gb = 1.10 }; 0 is a price")
    prices = section.mapping("usd_per_gpu_hour", GPU_NAME, GPU_NAME_MEANING, as_micros, _PRICE_MEANING)
    if prices is not None and not prices:
        section.report("usd_per_gpu_hour", "`usd_per_gpu_hour` must have a price for at least one GPU.")
    return prices or {}


def _gpus(section: Section, driver: DriverName | None, prices: Mapping[str, int]) -> Mapping[str, int] | None:
    if driver is DriverName.SLURM and section.has("gpus"):
        section.take("gpus")
        section.report("gpus", "`gpus` must be left out with the driver `slurm`: the cluster queues by itself.")
        return None
    if driver in HAS_SLOTS:
        section.require("gpus", "how many there are of each model, such as { h100_80gb = 8 }")
    gpus = section.mapping(
        "gpus",
        GPU_NAME,
        GPU_NAME_MEANING,
        lambda value: cast("int", value) if is_integer(value, (1, MOST_GPUS)) else None,
        f"a whole number from 1 to {MOST_GPUS}, how many there are",
    )
    if gpus is None or not prices:
        return gpus
    for gpu in gpus:
        if gpu not in prices:
            section.report("gpus", f"{gpu} has no price: add it to `usd_per_gpu_hour`, or leave it out here.", gpu)
    for gpu in prices:
        if gpu not in gpus:
            section.report(
                "usd_per_gpu_hour", f"{gpu} is not in `gpus`: say there how many there are, or drop its price.", gpu
            )
    return gpus


def _start_deadline(section: Section, driver: DriverName | None) -> int | None:
    if driver is DriverName.SLURM:
        if section.has("start_deadline_seconds"):
            section.report(
                "start_deadline_seconds",
                "`start_deadline_seconds` must be left out with the driver `slurm`: a job waits in the cluster's own "
                "queue, which has no limit here.",
            )
            section.take("start_deadline_seconds")
        return None
    if driver is DriverName.SIMULATED and not section.has("start_deadline_seconds"):
        return None
    return section.integer("start_deadline_seconds", (1, _LONGEST_START_SECONDS), DEFAULT_START_DEADLINE_SECONDS)


def _unknown_grace(section: Section, driver: DriverName | None) -> int:
    if driver is DriverName.SIMULATED and section.has("unknown_grace_seconds"):
        section.report(
            "unknown_grace_seconds",
            "`unknown_grace_seconds` must be left out with the driver `simulated`: there is no engine that might not "
            "answer.",
        )
        section.take("unknown_grace_seconds")
        return 0
    return section.integer("unknown_grace_seconds", (0, _LONGEST_GRACE_SECONDS), 0)
