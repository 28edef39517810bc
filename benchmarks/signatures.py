"""Section 4: signing and verifying, beside the bare hashes that both are made of."""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib.util
import time
from collections.abc import Callable
from functools import partial

import nodus

from .parsing import cpu_us
from .report import Bar, Table
from .rounds import interleaved

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes !!!").decode()
PATH = "/hooks/nodus"
SIZES = {"1 KiB": 1024, "64 KiB": 65536}


def floor(key: bytes, body: bytes) -> str:
    """SHA-256 of the body and a one-shot HMAC over the text that v1 signs: nothing can do with less."""
    text = b"1767225600.POST./hooks/nodus." + hashlib.sha256(body).hexdigest().encode()
    return hmac.digest(key, text, "sha256").hex()


def contenders(body: bytes) -> dict[str, Callable[[], object]]:
    """Everyone that is installed, ready to be called."""
    header = nodus.sign_request(signing_secret=SECRET, method="POST", path=PATH, body=body)["Nodus-Signature"]
    found: dict[str, Callable[[], object]] = {
        "sha256 + HMAC": partial(floor, SECRET.encode(), body),
        "nodus sign": partial(nodus.sign_request, signing_secret=SECRET, method="POST", path=PATH, body=body),
        "nodus verify": partial(
            nodus.verify_webhook, signing_secret=SECRET, method="POST", path=PATH, body=body, signature_header=header
        ),
    }
    now = int(time.time())
    text = body.decode()
    if importlib.util.find_spec("stripe"):
        import stripe

        mac = hmac.digest(SECRET.encode(), f"{now}.{text}".encode(), "sha256").hex()
        found["stripe verify"] = partial(
            stripe.WebhookSignature.verify_header, text, f"t={now},v1={mac}", SECRET, tolerance=3600
        )
    mac = base64.b64encode(
        hmac.digest(base64.b64decode(SECRET.removeprefix("whsec_")), b"msg_1.%d.%s" % (now, body), "sha256")
    ).decode()
    headers = {"id": "msg_1", "timestamp": str(now), "signature": f"v1,{mac}"}
    if importlib.util.find_spec("svix"):
        from svix.webhooks import Webhook as Svix

        found["svix verify"] = partial(Svix(SECRET).verify, text, {f"svix-{k}": v for k, v in headers.items()})
    if importlib.util.find_spec("standardwebhooks"):
        from standardwebhooks import Webhook as Standard

        found["standardwebhooks verify"] = partial(
            Standard(SECRET).verify, text, {f"webhook-{k}": v for k, v in headers.items()}
        )
    return found


def measure(*, quick: bool = False) -> Table:
    """Measure bodies of 1 and of 64 KiB. Bodies are JSON: some peers parse what they have verified."""
    table = Table("4", "Signatures", "µs", ("µs", "÷ floor"))
    for label, size in SIZES.items():
        body = b'"' + b"x" * (size - 2) + b'"'
        repeats = (2_000 if quick else 10_000) * 1024 // (1024 + size // 8)
        took = interleaved(
            {name: partial(cpu_us, call, repeats) for name, call in contenders(body).items()}, 5 if quick else 15
        )
        least = took["sha256 + HMAC"]
        for name, value in took.items():
            table.add(f"{name}, {label}", value, value / least, of="nodus" if "nodus" in name else name)
        table.bars += [
            Bar(f"sign ÷ floor at {label}", took["nodus sign"] / least, 1.1),
            Bar(f"verify ÷ floor at {label}", took["nodus verify"] / least, 1.5 if size == 1024 else 1.1),
        ]
    return table
