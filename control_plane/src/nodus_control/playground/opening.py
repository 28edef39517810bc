"""Opens the page in the user's browser, without showing anybody else how.

The address that a browser is started with stands in its arguments, fragment included, and every user of the machine
may read those of every process. An address that opens anything therefore goes through a file that only this user reads.
"""

from __future__ import annotations

import html
import os
import shutil
import tempfile
import webbrowser
from collections.abc import Callable
from pathlib import Path

_DOCUMENT = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0;url={address}">
<title>Nodus playground</title>
<p><a href="{address}">Open the Nodus playground</a></p>
</html>
"""


def open_privately(address: str) -> Callable[[], None]:
    """Open an address that is a secret; return what removes the file that leads to it."""
    folder = Path(tempfile.mkdtemp(prefix="nodus-page-"))  # nobody else may look into it
    path = folder / "playground.html"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(_DOCUMENT.format(address=html.escape(address, quote=True)))
    webbrowser.open(path.as_uri())
    return lambda: shutil.rmtree(folder, ignore_errors=True)
