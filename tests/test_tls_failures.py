"""What is said of a TLS handshake that fails: by the reason that OpenSSL gives."""

from __future__ import annotations

import ssl

import pytest

from nodus._tls_failures import advice_for


def failed(reason: str | None) -> ssl.SSLError:
    """What the `ssl` module raises with this reason."""
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason  # type: ignore[assignment]  # it is None where OpenSSL gives none
    return error


def unverified(code: int) -> ssl.SSLCertVerificationError:
    """What it raises where a certificate does not verify."""
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = code
    return error


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("WRONG_VERSION_NUMBER", "does not speak TLS"),
        ("HTTP_REQUEST", "does not speak TLS"),
        ("UNSUPPORTED_PROTOCOL", "TLS 1.2 or newer"),
        ("TLSV1_ALERT_PROTOCOL_VERSION", "TLS 1.2 or newer"),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "http_client="),
        ("SSLV3_ALERT_BAD_CERTIFICATE", "http_client="),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "http_client="),
        ("TLSV1_ALERT_UNKNOWN_CA", "http_client="),
    ],
)
def test_a_reason_that_stays_has_advice(reason: str, advice: str) -> None:
    """It says what to change, because a retry cannot help."""
    assert advice in (advice_for(failed(reason)) or "")


@pytest.mark.parametrize(
    "reason",
    ["SSLV3_ALERT_HANDSHAKE_FAILURE", "TLSV1_ALERT_INTERNAL_ERROR", "DECRYPTION_FAILED_OR_BAD_RECORD_MAC", None],
)
def test_a_reason_that_may_pass_has_none(reason: str | None) -> None:
    """Examples are a server that is starting, and a damaged connection."""
    assert advice_for(failed(reason)) is None


def test_an_error_without_a_reason_has_none() -> None:
    """Python itself raises such errors."""
    assert advice_for(ssl.SSLError("closed")) is None
    assert advice_for(ssl.SSLEOFError()) is None


@pytest.mark.parametrize("code", [2, 18, 19, 20, 21, 10, 9, 24, 1000])
def test_a_certificate_that_is_not_trusted_names_the_variable(code: int) -> None:
    """Setting `SSL_CERT_FILE` may be the remedy."""
    assert "SSL_CERT_FILE" in (advice_for(unverified(code)) or "")


@pytest.mark.parametrize("code", [62, 64])
def test_a_certificate_for_another_host_is_no_matter_of_trust(code: int) -> None:
    """The advice is to check the host of the base URL."""
    assert "host of the base URL" in (advice_for(unverified(code)) or "")


def test_an_error_without_a_code_is_about_a_certificate_all_the_same() -> None:
    """The class of the error suffices."""
    assert "SSL_CERT_FILE" in (advice_for(ssl.SSLCertVerificationError("no")) or "")
