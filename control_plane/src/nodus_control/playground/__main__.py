"""`python -m nodus_control.playground`: the playground without the SDK's command in front."""

import sys

from .command import playground

sys.exit(playground(prog_name="playground"))
