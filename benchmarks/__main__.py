"""`python -m benchmarks [section …] [--quick]`: measure, print the tables, write them down.

Sections: 1 imports, 2 one request, 3 parsing, 4 signatures, 5 many waiters, 6 the command line, 7 the control plane,
9 engines; all by default.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from . import command_line, control_plane, engines, imports, one_request, parsing, signatures, waiters
from .report import as_text, save

ROOT = Path(__file__).resolve().parents[1]

SECTIONS = {
    "1": imports,
    "2": one_request,
    "3": parsing,
    "4": signatures,
    "5": waiters,
    "6": command_line,
    "7": control_plane,
    "9": engines,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="section", help="1 to 7, or 9; all by default")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and nothing is written down")
    arguments = parser.parse_args()
    unknown = set(arguments.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"there is no section {', '.join(sorted(unknown))}: give any of {', '.join(SECTIONS)}")
    for section in arguments.sections or SECTIONS:
        table = SECTIONS[section].measure(quick=arguments.quick)
        if not table.rows:
            continue  # It has said why.
        print(as_text(table), flush=True)
        if not arguments.quick:
            save(table, ROOT / "benchmarks" / "results.json", ROOT / "docs" / "performance")


if __name__ == "__main__":
    main()
