"""`nodus doctor`: find out what is wrong."""

from __future__ import annotations

import asyncclick

from ..invocation import Invocation
from ..options import json_option


@asyncclick.command("doctor")
@json_option
@asyncclick.pass_obj
async def command(invocation: Invocation, /, as_json: bool) -> int:
    """Check settings, network, key and clock, and say what to fix.

    The exit status is that of the first check that failed: 3 for settings and key, 8 for the network, 9 for a clock
    that is too far off to sign.
    """
    from ..diagnosis import diagnose

    return await diagnose(invocation, as_json=as_json)
