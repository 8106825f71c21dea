"""Making and reading X.509: https://www.rfc-editor.org/rfc/rfc5280. PEM texts in, PEM texts out."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    Span = tuple[datetime, datetime]

_SIGNS = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


def _named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


@dataclass(frozen=True, slots=True)
class Use:
    """Who bears a certificate, and what it is good for."""

    subject: x509.Name
    usages: tuple[x509.ObjectIdentifier, ...]


WEBHOOK = Use(_named("globaltx webhook"), (ExtendedKeyUsageOID.SERVER_AUTH,))


def make_authority(span: Span, what: str = "webhook") -> tuple[str, str]:
    """Make a certificate authority that holds from the one time to the other, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    # A chain is looked up by name: the serial number in it keeps authorities apart.
    name = _named(f"globaltx {what} authority {serial:x}"[:64])
    certificate = (
        _builder(key, span)
        .subject_name(name)
        .issuer_name(name)
        .serial_number(serial)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_SIGNS, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return write_certificate(certificate), _write_key(key)


def make_certificate(
    authority: str,
    authority_key: str,
    hosts: Sequence[str],
    span: Span,
    use: Use = WEBHOOK,
) -> tuple[str, str]:
    """Make a certificate for names and addresses, signed by the authority, and its key."""
    signer = read_key(authority_key)
    key = ec.generate_private_key(ec.SECP256R1())
    made = (
        _builder(key, span)
        .subject_name(use.subject)
        .issuer_name(read_certificate(authority).subject)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(list(use.usages)), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if hosts:
        names = x509.SubjectAlternativeName(alternative_names(hosts))
        made = made.add_extension(names, critical=False)
    return write_certificate(made.sign(signer, hashes.SHA256())), _write_key(key)


def alternative_names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    """Write names and addresses as a certificate has them."""
    return [_alternative_name(host) for host in hosts]


def signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether the authority signed the certificate."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def read_certificate(pem: str) -> x509.Certificate:
    """Read one certificate.

    Raises:
        ValueError: it is none.
    """
    return x509.load_pem_x509_certificate(pem.encode())


def write_certificate(certificate: x509.Certificate) -> str:
    """Write a certificate."""
    return certificate.public_bytes(Encoding.PEM).decode()


def belongs(key: str, certificate: x509.Certificate) -> bool:
    """Whether a private key is that of a certificate.

    Raises:
        ValueError: it is none, or of another kind.
    """
    return read_key(key).public_key() == certificate.public_key()


def read_key(pem: str) -> ec.EllipticCurvePrivateKey:
    """Read a private key as it is made here.

    Raises:
        ValueError: it is none, or of another kind.
    """
    key = load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        message = "the key is not on an elliptic curve"
        raise ValueError(message)  # noqa: TRY004  the content is wrong, not the call
    return key


def _write_key(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _builder(key: ec.EllipticCurvePrivateKey, span: Span) -> x509.CertificateBuilder:
    made = x509.CertificateBuilder().public_key(key.public_key())
    return made.not_valid_before(span[0]).not_valid_after(span[1])


def _alternative_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
