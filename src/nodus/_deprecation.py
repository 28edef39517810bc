"""How something public goes out of use: it works for two more minor releases, and says what to use instead."""

from __future__ import annotations

import os
import warnings

_PACKAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")


def deprecated(
    what: str, *, instead: str, since: str, category: type[DeprecationWarning | FutureWarning] = DeprecationWarning
) -> None:
    """Warn that something is deprecated, at the line outside this package that used it, however deep the use is.

    Args:
        what: what is deprecated, as users write it: `Client.list(page=)`.
        instead: what to use instead, as users write it.
        since: the version of nodus-sdk that deprecated it.
        category: `DeprecationWarning` is for those who wrote the line: Python shows it where that is in `__main__`,
            and pytest shows it everywhere. `FutureWarning` is for those who run a program, and is always shown.
    """
    message = f"{what} is deprecated since nodus-sdk {since}: use {instead} instead"
    warnings.warn(message, category, stacklevel=_frames_inside() + 1)


def _frames_inside() -> int:
    """Count the frames of this package on top of the stack, the one of `deprecated` first."""
    import inspect

    frame = inspect.currentframe()
    frame = frame and frame.f_back  # `deprecated`
    count = 0
    while frame is not None and os.path.abspath(frame.f_code.co_filename).startswith(_PACKAGE):
        count += 1
        frame = frame.f_back
    return count
