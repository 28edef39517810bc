"""Everything a developer runs, from a fresh clone on: `python3 tools/dev.py demo`, `python3 tools/dev.py test`.

Only the check below runs on an old Python, so this file alone keeps to syntax that one can read.
"""

import sys

if __name__ == "__main__":
    if sys.version_info < (3, 10):
        sys.exit(
            "Nodus needs Python 3.10 or newer, and this is {}.{} ({}).\n"
            "Run this with a newer one, for example: python3.12 tools/dev.py {}".format(
                sys.version_info[0], sys.version_info[1], sys.executable, " ".join(sys.argv[1:])
            )
        )

    from devtool.main import main

    sys.exit(main(sys.argv[1:]))
