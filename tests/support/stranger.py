"""The verifier that stands in docs/reference/ledger-encoding.md, run as a stranger would, or in this process."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from pathlib import Path
from unittest import mock

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "ledger-encoding.md"


def source() -> str:
    """The program, out of the page."""
    found = re.search(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def accepts(program: object, *arguments: str) -> bool:
    """Run the compiled program in this process; say whether its exit status would be 0."""
    with (
        mock.patch.object(sys, "argv", ["verify.py", *arguments]),
        contextlib.redirect_stdout(io.StringIO()) as said,
        contextlib.ExitStack() as opened,
    ):
        # Its files are closed when it ends, which here it does not.
        names = {"__name__": "__main__", "open": lambda *given: opened.enter_context(open(*given))}
        try:
            exec(program, names)  # type: ignore[call-overload]  # what `compile` returned
        except (Exception, SystemExit):
            return False
    return said.getvalue() == "verified\n"
