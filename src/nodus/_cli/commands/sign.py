"""`nodus sign`: the signature header of a request that another program sends."""

from __future__ import annotations

import os

import asyncclick

from ..._errors import ConfigurationError, ValidationError
from ..._signing import SIGNATURE_HEADER, sign_request
from .. import exit_codes
from ..body import read_body
from ..invocation import Invocation
from ..options import json_option

SECRET_VARIABLE = "NODUS_SIGNING_SECRET"
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
def command(invocation: Invocation, /, method: str, path: str, body: str | None, as_json: bool) -> int:
    """Sign a request, and print the header to send with it.

    PATH is the path alone, percent-encoded as it is sent, starting with /v1/. The secret is read from
    NODUS_SIGNING_SECRET only. The signature is valid for five minutes.
    """
    # As the client reads it: one from a file often ends in a line break.
    secret = os.environ.get(SECRET_VARIABLE, "").strip()
    if not secret:
        raise ConfigurationError(
            f"No signing secret: set {SECRET_VARIABLE} to the sgn_... secret of the key.", code="missing_signing_secret"
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
