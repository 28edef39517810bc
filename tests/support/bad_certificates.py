"""Certificates that a client must not accept, each for a reason of its own."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

FLAWS = ("self-signed", "expired", "not yet valid", "for another host")


def flawed(flaw: str, folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Make a context to serve with, and the file to trust: it vouches for all but the self-signed certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    host = "elsewhere.invalid" if flaw == "for another host" else "localhost"
    days = {"expired": (-20, -10), "not yet valid": (10, 20)}.get(flaw, (-10, 10))
    trusted = folder / "trusted.pem"
    certificate = _certificate(key, host, days)
    trusted.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    if flaw == "self-signed":
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(key, host, days)
    served = folder / "served.pem"
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    served.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(served)
    return context, trusted


def _certificate(key: ec.EllipticCurvePrivateKey, host: str, days: tuple[int, int]) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
