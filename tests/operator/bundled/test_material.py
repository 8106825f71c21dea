"""What is minted for the chart's own etcd, and when it is made anew."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from globaltx_operator.bundled.material import (
    AUTHORITY_LIFE,
    client_texts,
    new_authorities,
    password_of,
    read_authorities,
    server_texts,
)
from globaltx_operator.webhook.minting import read_certificate, signed_by

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOSTS = ("etcd-0.etcd.system.svc", "etcd-1.etcd.system.svc")
AUTHORITIES = new_authorities(NOW)
SERVER = server_texts({}, AUTHORITIES, HOSTS, NOW)
CLIENT = client_texts({}, AUTHORITIES, "sidecars.shop", "secret", NOW)


def usages(pem: str) -> set[x509.ObjectIdentifier]:
    return set(read_certificate(pem).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_authorities_are_read_as_they_were_written() -> None:
    assert read_authorities(AUTHORITIES.to_texts(), NOW) == AUTHORITIES


@pytest.mark.parametrize("name", ["clients.crt", "clients.key", "peers.crt", "peers.key"])
@pytest.mark.parametrize("text", [None, "", "-----BEGIN CERTIFICATE-----"])
def test_authorities_that_are_broken_are_none(name: str, text: str | None) -> None:
    texts = AUTHORITIES.to_texts() | ({name: text} if text is not None else {})
    if text is None:
        del texts[name]
    assert read_authorities(texts, NOW) is None


def test_a_key_of_another_authority_is_none() -> None:
    other = new_authorities(NOW).to_texts()
    assert read_authorities(AUTHORITIES.to_texts() | {"peers.key": other["peers.key"]}, NOW) is None


def test_authorities_last_ten_years() -> None:
    assert read_authorities(AUTHORITIES.to_texts(), NOW + AUTHORITY_LIFE - timedelta(days=1))
    assert read_authorities(AUTHORITIES.to_texts(), NOW + AUTHORITY_LIFE + timedelta(days=1)) is None


def test_a_client_has_no_name_and_can_only_be_a_client() -> None:
    subject = read_certificate(CLIENT["tls.crt"]).subject
    assert not subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert usages(CLIENT["tls.crt"]) == {ExtendedKeyUsageOID.CLIENT_AUTH}
    assert (CLIENT["username"], CLIENT["password"]) == ("sidecars.shop", "secret")


def test_a_client_is_no_member() -> None:
    client = read_certificate(CLIENT["tls.crt"])
    assert signed_by(client, read_certificate(SERVER["client-ca.crt"]))
    assert not signed_by(client, read_certificate(SERVER["peer-ca.crt"]))


@pytest.mark.parametrize("name", ["client", "peer"])
def test_members_serve_and_connect_under_their_names(name: str) -> None:
    made = read_certificate(SERVER[f"{name}.crt"])
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(HOSTS) <= set(names.get_values_for_type(x509.DNSName))
    assert usages(SERVER[f"{name}.crt"]) == {
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    }


def test_no_key_of_an_authority_is_handed_out() -> None:
    keys = {AUTHORITIES.clients.key, AUTHORITIES.peers.key}
    assert not keys & {*SERVER.values(), *CLIENT.values()}


@pytest.mark.parametrize("days", [0, 1, 240])
def test_what_is_good_is_left_as_it_is(days: int) -> None:
    now = NOW + timedelta(days=days)
    assert server_texts(SERVER, AUTHORITIES, HOSTS, now) == SERVER
    assert client_texts(CLIENT, AUTHORITIES, "sidecars.shop", "secret", now) == CLIENT


def test_certificates_are_renewed_long_before_they_end() -> None:
    now = NOW + timedelta(days=250)
    renewed = client_texts(CLIENT, AUTHORITIES, "sidecars.shop", "secret", now)
    assert renewed["tls.crt"] != CLIENT["tls.crt"]
    assert read_certificate(renewed["tls.crt"]).not_valid_after_utc > now + timedelta(days=300)
    assert renewed["ca.crt"] == CLIENT["ca.crt"]


def test_another_authority_or_another_member_makes_other_certificates() -> None:
    other = new_authorities(NOW)
    assert client_texts(CLIENT, other, "sidecars.shop", "secret", NOW)["tls.crt"] != CLIENT["tls.crt"]
    grown = server_texts(SERVER, AUTHORITIES, (*HOSTS, "etcd-2.etcd.system.svc"), NOW)
    assert grown["client.crt"] != SERVER["client.crt"]


@pytest.mark.parametrize("name", ["tls.crt", "tls.key"])
def test_what_is_broken_is_made_anew(name: str) -> None:
    made = client_texts(CLIENT | {name: "broken"}, AUTHORITIES, "sidecars.shop", "secret", NOW)
    assert made == client_texts(made, AUTHORITIES, "sidecars.shop", "secret", NOW)
    assert "broken" not in made.values()


def test_each_namespace_has_a_password_of_its_own_and_always_the_same() -> None:
    assert password_of("seed", "shop") == password_of("seed", "shop")
    assert len({password_of("seed", "shop"), password_of("seed", "bank"), password_of("other", "shop")}) == 3
