"""`python -m nodus_ledger.admin`."""

import sys

from .program import main

if __name__ == "__main__":
    sys.exit(main())
