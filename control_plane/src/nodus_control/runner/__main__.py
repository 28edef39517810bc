"""The script that the driver starts: `python -I -S __main__.py ATTEMPT CONTAINMENT`, and specification on stdin."""

import os
import sys

if __name__ == "__main__":
    # Isolated mode leaves this package's root off the path. It goes last: nothing beside it can hide the library.
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

    from nodus_control.runner.detach import main

    main(sys.argv[1], sys.argv[2])
