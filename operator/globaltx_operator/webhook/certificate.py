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

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509

from globaltx.values import replace
from globaltx_operator.webhook.minting import (
    alternative_names,
    belongs,
    make_authority,
    make_certificate,
    read_certificate,
    signed_by,
    write_certificate,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

AUTHORITIES = "ca.crt"
AUTHORITY_KEY = "ca.key"
CERTIFICATE = "tls.crt"
KEY = "tls.key"


class BadMaterialError(ValueError):
    """The Secret does not hold what was written there; it is made anew."""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long things hold; each is renewed after two thirds of its time."""

    authority: timedelta = timedelta(days=3650)
    certificate: timedelta = timedelta(days=90)
    trust: timedelta = timedelta(minutes=2)
    """How long every API server takes at most to hear of a new authority; far less than renewal leaves."""
    skew: timedelta = timedelta(minutes=5)
    """How far another machine's clock may be behind ours; what is made is valid from so long ago."""


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
            texts = tuple(write_certificate(each) for each in authorities)
            material = cls(texts, data[AUTHORITY_KEY], data[CERTIFICATE], data[KEY])
            served = read_certificate(material.certificate)
            served.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            matching = belongs(material.authority_key, authorities[0]) and belongs(material.key, served)
        except (KeyError, ValueError, TypeError, x509.ExtensionNotFound) as error:
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
    newest = read_certificate(material.authorities[0])
    if _due(newest, lifetimes, now):
        authority, key = make_authority(_span(lifetimes, lifetimes.authority, now))
        return replace(material, authorities=(authority, *material.authorities), authority_key=key)
    if _stale(material, hosts, lifetimes, now) and _takes_over(material, lifetimes, now, trusted=trusted):
        certificate, key = _serving(material, hosts, lifetimes, now)
        return replace(material, certificate=certificate, key=key)
    valid = tuple(each for each in material.authorities if read_certificate(each).not_valid_after_utc > now)
    return None if valid == material.authorities else replace(material, authorities=valid)


def new_material(hosts: Sequence[str], lifetimes: Lifetimes, now: datetime) -> Material:
    """Start from nothing."""
    authority, authority_key = make_authority(_span(lifetimes, lifetimes.authority, now))
    bare = Material((authority,), authority_key, "", "")
    certificate, key = _serving(bare, hosts, lifetimes, now)
    return replace(bare, certificate=certificate, key=key)


def _usable(material: Material, now: datetime) -> bool:
    """Whether the serving certificate holds and an authority that holds signed it."""
    certificate = read_certificate(material.certificate)
    return certificate.not_valid_after_utc > now and any(
        read_certificate(each).not_valid_after_utc > now and signed_by(certificate, read_certificate(each))
        for each in material.authorities
    )


def _stale(material: Material, hosts: Sequence[str], lifetimes: Lifetimes, now: datetime) -> bool:
    """Whether a new serving certificate is wanted: it grows old, its authority did, a name is missing."""
    certificate = read_certificate(material.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return (
        _due(certificate, lifetimes, now)
        or not signed_by(certificate, read_certificate(material.authorities[0]))
        or not set(alternative_names(hosts)) <= set(names)
    )


def _takes_over(material: Material, lifetimes: Lifetimes, now: datetime, *, trusted: bool) -> bool:
    """Whether the newest authority may sign what is served."""
    newest = read_certificate(material.authorities[0])
    if signed_by(read_certificate(material.certificate), newest):
        return True  # it does already
    return trusted and now >= newest.not_valid_before_utc + lifetimes.skew + lifetimes.trust


def _due(certificate: x509.Certificate, lifetimes: Lifetimes, now: datetime) -> bool:
    made = certificate.not_valid_before_utc + lifetimes.skew
    return now >= made + (certificate.not_valid_after_utc - made) * 2 / 3


def _serving(
    material: Material, hosts: Sequence[str], lifetimes: Lifetimes, now: datetime
) -> tuple[str, str]:
    span = _span(lifetimes, lifetimes.certificate, now)
    return make_certificate(material.authorities[0], material.authority_key, hosts, span)


def _span(lifetimes: Lifetimes, life: timedelta, now: datetime) -> tuple[datetime, datetime]:
    return now - lifetimes.skew, now + life
