"""`python -m nodus` is the `nodus` command."""

from __future__ import annotations

import sys

from nodus._cli import main

if __name__ == "__main__":
    sys.exit(main())
