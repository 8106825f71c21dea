"""The webhook's certificate: made by ourselves, renewed in steps of which none breaks trust.

A `Material` is what all replicas share: authorities, newest first, and the serving certificate
that one of them signed. Three steps, one at a time, from the newest backwards:

1. A new authority is put before the old ones while they still hold. Nobody uses it yet.
2. Once the API server trusts it (the webhook configurations carry it, and a while has passed for
   every API server to have heard), a serving certificate signed by it takes over.
3. Authorities that have expired are dropped.

A serving certificate that only grows old is signed anew by the authority that is trusted already.
Whatever replica serves whichever of them, old or new, an API server trusts it.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
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
    from collections.abc import Mapping, Sequence

AUTHORITIES = "ca.crt"
AUTHORITY_KEY = "ca.key"
CERTIFICATE = "tls.crt"
KEY = "tls.key"
SKEW = timedelta(minutes=5)
"""How far another machine's clock may be behind ours."""


class BadMaterialError(ValueError):
    """The Secret does not hold what was written there; it is made anew."""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long things hold; each is renewed after two thirds of its time."""

    authority: timedelta = timedelta(days=3650)
    certificate: timedelta = timedelta(days=90)
    trust: timedelta = timedelta(minutes=2)
    """How long every API server takes at most to hear of a new authority."""


@dataclass(frozen=True, slots=True)
class Material:
    """PEM texts: the authorities, newest first, the newest one's key, the serving certificate and its key."""

    authorities: tuple[str, ...]
    authority_key: str
    certificate: str
    key: str

    @property
    def bundle(self) -> str:
        """What the API server must trust."""
        return "".join(self.authorities)

    def to_data(self) -> dict[str, str]:
        """Write a Secret's ``stringData``."""
        return {
            AUTHORITIES: self.bundle,
            AUTHORITY_KEY: self.authority_key,
            CERTIFICATE: self.certificate,
            KEY: self.key,
        }

    @classmethod
    def from_data(cls, data: Mapping[str, str]) -> Material:
        """Read what `to_data` wrote, decoded.

        Raises:
            BadMaterialError: it is something else.
        """
        try:
            authorities = x509.load_pem_x509_certificates(data[AUTHORITIES].encode())
            material = cls(
                tuple(_pem(each) for each in authorities), data[AUTHORITY_KEY], data[CERTIFICATE], data[KEY]
            )
            matching = (
                _key(material.authority_key).public_key() == authorities[0].public_key()
                and _key(material.key).public_key() == _certificate(material.certificate).public_key()
            )
        except (KeyError, ValueError, TypeError) as error:
            raise BadMaterialError(repr(error)) from error
        if not matching:
            message = "a key does not belong to its certificate"
            raise BadMaterialError(message)
        return material


def renewed(
    material: Material | None,
    hosts: Sequence[str],
    lifetimes: Lifetimes,
    now: datetime,
    *,
    trusted: bool = False,
) -> Material | None:
    """Take the next step: what to share from now on, or None when nothing is due.

    ``hosts`` are names and addresses by which the webhook is called; ``trusted`` tells that every
    webhook configuration carries the newest authority.
    """
    if material is None or not _usable(material, now):
        return new_material(hosts, lifetimes, now)
    newest = _certificate(material.authorities[0])
    if _due(newest, now):
        authority, key = _authority(lifetimes, now)
        return replace(material, authorities=(authority, *material.authorities), authority_key=key)
    if _stale(material, hosts, now) and _takes_over(material, lifetimes, now, trusted=trusted):
        certificate, key = _serving(material, hosts, lifetimes, now)
        return replace(material, certificate=certificate, key=key)
    valid = tuple(each for each in material.authorities if _certificate(each).not_valid_after_utc > now)
    return None if valid == material.authorities else replace(material, authorities=valid)


def new_material(hosts: Sequence[str], lifetimes: Lifetimes, now: datetime) -> Material:
    """Start from nothing."""
    authority, authority_key = _authority(lifetimes, now)
    bare = Material((authority,), authority_key, "", "")
    certificate, key = _serving(bare, hosts, lifetimes, now)
    return replace(bare, certificate=certificate, key=key)


def _usable(material: Material, now: datetime) -> bool:
    """Whether the serving certificate holds and an authority that holds signed it."""
    certificate = _certificate(material.certificate)
    return certificate.not_valid_after_utc > now and any(
        _certificate(each).not_valid_after_utc > now and _signed_by(certificate, _certificate(each))
        for each in material.authorities
    )


def _stale(material: Material, hosts: Sequence[str], now: datetime) -> bool:
    """Whether a new serving certificate is wanted: it grows old, its authority did, a name is missing."""
    certificate = _certificate(material.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return (
        _due(certificate, now)
        or not _signed_by(certificate, _certificate(material.authorities[0]))
        or not set(_names(hosts)) <= set(names)
    )


def _takes_over(material: Material, lifetimes: Lifetimes, now: datetime, *, trusted: bool) -> bool:
    """Whether the newest authority may sign what is served."""
    newest = _certificate(material.authorities[0])
    if _signed_by(_certificate(material.certificate), newest):
        return True  # it does already
    return trusted and now >= newest.not_valid_before_utc + SKEW + lifetimes.trust


def _due(certificate: x509.Certificate, now: datetime) -> bool:
    made = certificate.not_valid_before_utc + SKEW
    return now >= made + (certificate.not_valid_after_utc - made) * 2 / 3


def _signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    if certificate.issuer != authority.subject:
        return False
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _authority(lifetimes: Lifetimes, now: datetime) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    # The serial number in the name keeps authorities apart: a chain is looked up by name.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"globaltx webhook authority {serial:x}"[:64])])
    usage = x509.KeyUsage(
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
    certificate = (
        _builder(name, name, key, now, lifetimes.authority, serial)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _pem(certificate), _pem_key(key)


def _serving(
    material: Material, hosts: Sequence[str], lifetimes: Lifetimes, now: datetime
) -> tuple[str, str]:
    authority, authority_key = _certificate(material.authorities[0]), _key(material.authority_key)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "globaltx webhook")])
    certificate = (
        _builder(name, authority.subject, key, now, lifetimes.certificate, x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_names(hosts)), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )
    return _pem(certificate), _pem_key(key)


def _builder(
    name: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    life: timedelta,
    serial: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now.astimezone(UTC) - SKEW)
        .not_valid_after(now.astimezone(UTC) + life)
    )


def _names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    return [_name(host) for host in hosts]


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _certificate(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def _key(pem: str) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        message = "the key is not on an elliptic curve"
        raise BadMaterialError(message)
    return key


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _pem_key(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
