"""Where this project's distributions come from: the one place that changes once they are published.

On the public package index, the names below are not this project's: what has the first is another project's, and the
second is anybody's to take. So no text of ours installs them by name: they are installed from a clone or from wheels.
"""

from __future__ import annotations

SDK = "nodus-sdk"
CONTROL_PLANE = "nodus-control-plane"

INSTALL_SDK = "pip install ."
"""In a clone of the repository; elsewhere, the wheel's file name takes the place of the dot."""

INSTALL_CONTROL_PLANE = "pip install . ./control_plane"
"""Both distributions, in a clone of the repository."""

HOW_TO_INSTALL_CONTROL_PLANE = (
    f"run `{INSTALL_CONTROL_PLANE}` in a clone of the repository, or install the wheel of {CONTROL_PLANE} that belongs "
    "to this version. Do not install that name from a package index: there it may be somebody else's."
)
