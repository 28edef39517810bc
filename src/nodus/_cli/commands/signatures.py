"""`nodus sign` and `nodus verify`: the signatures of requests that other programs send, and of webhook deliveries."""

from __future__ import annotations

import os

import asyncclick

from ..._errors import ConfigurationError, ValidationError
from ..._signing import SIGNATURE_HEADER, TOLERANCE_SECONDS, sign_request, verify_webhook
from .. import exit_codes
from ..invocation import Invocation
from ..options import json_option, read_body, seconds

SIGNING_SECRET_VARIABLE = "NODUS_SIGNING_SECRET"
WEBHOOK_SECRET_VARIABLE = "NODUS_WEBHOOK_SECRET"
WITHOUT_BODY = ("GET", "HEAD", "DELETE")


@asyncclick.command("sign")
@asyncclick.argument("method")
@asyncclick.argument("path")
@asyncclick.option(
    "--body",
    metavar="FILE",
    help="A file with the exact bytes that will be sent, or - for stdin, which is the default unless METHOD is "
    f"{', '.join(WITHOUT_BODY[:-1])} or {WITHOUT_BODY[-1]}.",
)
@json_option
@asyncclick.pass_obj
def sign_command(invocation: Invocation, /, method: str, path: str, body: str | None, as_json: bool) -> int:
    """Sign a request, and print the header to send with it.

    PATH is the path alone, percent-encoded as it is sent, starting with /v1/. The secret is read from
    NODUS_SIGNING_SECRET only. The signature is valid for five minutes.
    """
    # As the client reads it: one from a file often ends in a line break.
    secret = os.environ.get(SIGNING_SECRET_VARIABLE, "").strip()
    if not secret:
        raise ConfigurationError(
            f"No signing secret: set {SIGNING_SECRET_VARIABLE} to the sgn_... secret of the key.",
            code="missing_signing_secret",
        )
    if body is None and method.upper() not in WITHOUT_BODY:
        body = "-"
    content = b"" if body is None else read_body(body, invocation.output)
    try:
        headers = sign_request(signing_secret=secret, method=method, path=path, body=content)
    except ValidationError as exc:
        raise asyncclick.UsageError(exc.message) from exc
    if as_json:
        invocation.output.json(headers)
    else:
        invocation.output.data(f"{SIGNATURE_HEADER}: {headers[SIGNATURE_HEADER]}")
    return exit_codes.OK


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
def verify_command(
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
    secrets = os.environ.get(WEBHOOK_SECRET_VARIABLE, "").split()
    if not secrets:
        raise ConfigurationError(
            f"No webhook secret: set {WEBHOOK_SECRET_VARIABLE} to the whsec_... secret of the endpoint.",
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
