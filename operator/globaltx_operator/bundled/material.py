"""What is minted for the chart's own etcd, as the texts of its Secrets.

Two authorities, so that whoever enters as a client cannot join as a member. Both live for ten years, because
etcd reads the ones that it trusts at its start only: a change of theirs takes a restart of all members, which
is for a person to choose. All certificates below them live for a year and are renewed after eight months:
etcd, the operator and the sidecars read theirs again for each new connection.

A client's certificate has no common name, since etcd takes one for a user's name where no token is shown. It
says who may connect at all, from the first second on; who that is, user and password say.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from globaltx_operator.webhook.minting import (
    Use,
    alternative_names,
    belongs,
    make_authority,
    make_certificate,
    read_certificate,
    signed_by,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from globaltx_operator.shared import Texts

AUTHORITY_LIFE = timedelta(days=3650)
CERTIFICATE_LIFE = timedelta(days=365)
SKEW = timedelta(minutes=5)
"""How far another machine's clock may be behind ours; what is made is valid from so long ago."""
ROOT = "root"

_SUBJECT = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "globaltx")])
_CLIENT = Use(_SUBJECT, (ExtendedKeyUsageOID.CLIENT_AUTH,))
# Members also connect to each other.
_MEMBER = Use(_SUBJECT, (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH))


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate and its key, PEM texts."""

    certificate: str
    key: str

    def holds(self, now: datetime) -> bool:
        """Whether it can be used."""
        made = _read_pair(self.certificate, self.key)
        return made is not None and made.not_valid_after_utc > now


@dataclass(frozen=True, slots=True)
class Authorities:
    """The one of the clients and of what they connect to, and the one among the members."""

    clients: Authority
    peers: Authority

    def to_texts(self) -> Texts:
        """Write the Secret."""
        return {
            "clients.crt": self.clients.certificate,
            "clients.key": self.clients.key,
            "peers.crt": self.peers.certificate,
            "peers.key": self.peers.key,
        }


def read_authorities(texts: Mapping[str, str], now: datetime) -> Authorities | None:
    """Read what `Authorities.to_texts` wrote; None where it is something else, or has expired."""
    try:
        clients = Authority(texts["clients.crt"], texts["clients.key"])
        peers = Authority(texts["peers.crt"], texts["peers.key"])
    except KeyError:
        return None
    return Authorities(clients, peers) if clients.holds(now) and peers.holds(now) else None


def new_authorities(now: datetime) -> Authorities:
    """Make both."""
    span = now - SKEW, now + AUTHORITY_LIFE
    clients, peers = (make_authority(span, f"etcd {what}") for what in ("clients", "peers"))
    return Authorities(Authority(*clients), Authority(*peers))


def server_texts(
    held: Mapping[str, str], authorities: Authorities, hosts: Sequence[str], now: datetime
) -> Texts:
    """What the members need: what is held where that is still good, else made anew."""
    local = (*hosts, "localhost", "127.0.0.1")
    return _leaf(held, "client", authorities.clients, local, _MEMBER, now) | _leaf(
        held, "peer", authorities.peers, hosts, _MEMBER, now
    )


def client_texts(
    held: Mapping[str, str], authorities: Authorities, user: str, password: str, now: datetime
) -> Texts:
    """What a client enters by, as `EtcdAccess` reads it: what is held where that is still good."""
    made = _leaf(held, "tls", authorities.clients, (), _CLIENT, now)
    made["ca.crt"] = made.pop("tls-ca.crt")
    return made | {"username": user, "password": password}


def user_of(namespace: str) -> str:
    """The user by which the sidecars of a namespace enter; also the name of that user's role."""
    return f"sidecars.{namespace}"


def password_of(seed: str, namespace: str) -> str:
    """That user's password: always the same, so that a Secret that was deleted is made again as it was."""
    return hmac.new(seed.encode(), user_of(namespace).encode(), hashlib.sha256).hexdigest()


def _leaf(
    held: Mapping[str, str], name: str, authority: Authority, hosts: Sequence[str], use: Use, now: datetime
) -> Texts:
    certificate, key = f"{name}.crt", f"{name}.key"
    kept = held.get(certificate, ""), held.get(key, "")
    if not _is_good(*kept, authority, hosts, now):
        span = now - SKEW, now + CERTIFICATE_LIFE
        kept = make_certificate(authority.certificate, authority.key, hosts, span, use)
    return {f"{name}-ca.crt": authority.certificate, certificate: kept[0], key: kept[1]}


def _is_good(certificate: str, key: str, authority: Authority, hosts: Sequence[str], now: datetime) -> bool:
    made = _read_pair(certificate, key)
    return (
        made is not None
        and now < made.not_valid_after_utc - CERTIFICATE_LIFE / 3
        and signed_by(made, read_certificate(authority.certificate))
        and set(alternative_names(hosts)) <= set(_names(made))
    )


def _read_pair(certificate: str, key: str) -> x509.Certificate | None:
    """A certificate whose key is its own; None where they are something else."""
    try:
        made = read_certificate(certificate)
        return made if belongs(key, made) else None
    except (ValueError, TypeError):
        return None


def _names(certificate: x509.Certificate) -> list[x509.GeneralName]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return list(found.value)
