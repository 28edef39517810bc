"""What to do about a server's certificate that does not verify."""

from __future__ import annotations

import ssl

EXPIRED = frozenset((9, 10))
"""`X509_V_ERR_CERT_NOT_YET_VALID` and `X509_V_ERR_CERT_HAS_EXPIRED` of OpenSSL."""

OTHER_HOST = frozenset((62, 64))
"""`X509_V_ERR_HOSTNAME_MISMATCH` and `X509_V_ERR_IP_ADDRESS_MISMATCH`."""


def certificate_advice(error: BaseException) -> str:
    """Return what to do if a certificate that does not verify is behind an error, else an empty string."""
    # What this imports is loaded wherever there was a connection that could fail.
    from .._failures import chain_of

    cause = next((link for link in chain_of(error) if isinstance(link, ssl.SSLCertVerificationError)), None)
    return "" if cause is None else advice_for(getattr(cause, "verify_code", 0), ssl.get_default_verify_paths().cafile)


def advice_for(verify_code: int, store: str | None) -> str:
    """Return what to do about one of OpenSSL's verification errors.

    Args:
        verify_code: the error's number (`SSLCertVerificationError.verify_code`).
        store: the file with the operating system's CA certificates; None if it has none.
    """
    if verify_code in EXPIRED:
        return "The server's certificate is not valid at this time: have it renewed, or correct this machine's clock."
    if verify_code in OTHER_HOST:
        return "The server's certificate is for another host: check the name in NODUS_BASE_URL."
    known = f" ({store})" if store else ""
    return (
        "The server's certificate is not signed by an authority that this program knows: it knows those of the package "
        "certifi, not the operating system's. If a company's own authority signed it, set SSL_CERT_FILE to a PEM file "
        f"that has it, such as the operating system's store{known}."
    )
