"""What to do about a TLS handshake that fails in the same way however often it is tried, by OpenSSL's name for it."""

from __future__ import annotations

import ssl

_CLIENT_CERTIFICATE = (
    "The server asks for a client certificate, or refused the one that it got: pass http_client= with a client that "
    "has the right one, such as httpx.Client(verify=context)."
)
_PLAIN_HTTP = (
    "What answers on this port does not speak TLS: check the port of the base URL, and whether it begins with https:// "
    "by mistake."
)
_VERSION = "The server and this Python have no version of TLS in common: the server must offer TLS 1.2 or newer."

_ADVICE = {
    "HTTP_REQUEST": _PLAIN_HTTP,
    "NO_PROTOCOLS_AVAILABLE": _VERSION,
    "TLSV1_ALERT_PROTOCOL_VERSION": _VERSION,
    "UNKNOWN_PROTOCOL": _PLAIN_HTTP,
    "UNSUPPORTED_PROTOCOL": _VERSION,
    "VERSION_TOO_LOW": _VERSION,
    "WRONG_SSL_VERSION": _VERSION,
    "WRONG_VERSION_NUMBER": _PLAIN_HTTP,
}

_UNKNOWN_AUTHORITY = (
    "It was issued by an authority that is not among those that are trusted, which are certifi's, not the system's: "
    "set SSL_CERT_FILE to a PEM file with the authority's certificate, such as that of your company."
)
_OUT_OF_DATE = (
    "Check this machine's clock; if it is right, the server needs a new certificate, or the file that SSL_CERT_FILE "
    "names holds an old one."
)
_OTHER_HOST = "The certificate is for another host: check the host of the base URL."
_UNTRUSTED = "If a private authority issued it, set SSL_CERT_FILE to a PEM file with the authority's certificate."

# By OpenSSL's X509_V_ERR codes.
_CERTIFICATE_ADVICE = {
    2: _UNKNOWN_AUTHORITY,
    9: _OUT_OF_DATE,
    10: _OUT_OF_DATE,
    18: _UNKNOWN_AUTHORITY,
    19: _UNKNOWN_AUTHORITY,
    20: _UNKNOWN_AUTHORITY,
    21: _UNKNOWN_AUTHORITY,
    62: _OTHER_HOST,
    64: _OTHER_HOST,
}


def advice_for(exc: ssl.SSLError) -> str | None:
    """Return what to do about a failure that no retry can mend; None if a retry may."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return _CERTIFICATE_ADVICE.get(getattr(exc, "verify_code", -1), _UNTRUSTED)
    reason: str = getattr(exc, "reason", None) or ""
    if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
        return _CLIENT_CERTIFICATE
    return _ADVICE.get(reason)
