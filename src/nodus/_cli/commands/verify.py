"""`nodus verify`: whether a webhook delivery is genuine."""

from __future__ import annotations

import os

import asyncclick

from ..._errors import ConfigurationError
from ..._signing import SIGNATURE_HEADER, TOLERANCE_SECONDS, verify_webhook
from .. import exit_codes
from ..body import read_body
from ..invocation import Invocation
from ..options import json_option, seconds

SECRET_VARIABLE = "NODUS_WEBHOOK_SECRET"


@asyncclick.command("verify")
@asyncclick.argument("method")
@asyncclick.argument("path")
@asyncclick.option(
    "--signature", required=True, metavar="HEADER", help=f"The value of the delivery's {SIGNATURE_HEADER} header."
)
@asyncclick.option(
    "--body",
    default="-",
    show_default=True,
    metavar="FILE",
    help="A file with the raw body of the delivery; - is stdin.",
)
@asyncclick.option(
    "--tolerance-seconds",
    type=seconds,
    default=TOLERANCE_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How far the signature's time may lie from now.",
)
@json_option
@asyncclick.pass_obj
def command(
    invocation: Invocation,
    /,
    method: str,
    path: str,
    signature: str,
    body: str,
    tolerance_seconds: float,
    as_json: bool,
) -> int:
    """Check the signature of a webhook delivery.

    PATH is the path of the URL that was registered; undo what a reverse proxy does to it. The secret is read from
    NODUS_WEBHOOK_SECRET only: two, separated by a space, while one is being rotated. The exit status is 0 for a genuine
    delivery, and 9 for any other.
    """
    secrets = os.environ.get(SECRET_VARIABLE, "").split()
    if not secrets:
        raise ConfigurationError(
            f"No webhook secret: set {SECRET_VARIABLE} to the whsec_... secret of the endpoint.",
            code="missing_webhook_secret",
        )
    header = signature.partition(":")[2] if signature.lower().startswith(SIGNATURE_HEADER.lower() + ":") else signature
    genuine = verify_webhook(
        signing_secret=secrets,
        method=method,
        path=path,
        body=read_body(body, invocation.output),
        signature_header=header.strip(),
        tolerance_seconds=tolerance_seconds,
    )
    if as_json:
        invocation.output.json({"valid": genuine})
    else:
        invocation.output.data("valid" if genuine else "invalid")
    if not genuine:
        invocation.fail(
            "signature_invalid",
            "The secret, method, path or body is wrong, the header is malformed, or its time is more than "
            f"{tolerance_seconds:g} s from now.",
        )
        return exit_codes.SIGNATURE
    return exit_codes.OK
