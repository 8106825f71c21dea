"""Certificate and authorities through years, step by step, on a clock of the test's own."""

from __future__ import annotations

import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from globaltx_operator.webhook.certificate import (
    BadMaterialError,
    Lifetimes,
    Material,
    new_material,
    renewed,
)
from globaltx_operator.webhook.keeper import load
from globaltx_operator.webhook.minting import make_certificate, read_certificate, signed_by

HOSTS = ("globaltx-webhook.globaltx-system.svc", "127.0.0.1")
NOW = datetime(2030, 1, 1, tzinfo=UTC)
LIVES = Lifetimes()


def step(material: Material | None, after: timedelta, *, trusted: bool = False) -> Material | None:
    return renewed(material, HOSTS, LIVES, NOW + after, trusted=trusted)


def signers(material: Material) -> list[bool]:
    """Which of the authorities, newest first, signed what is served."""
    served = read_certificate(material.certificate)
    return [signed_by(served, read_certificate(each)) for each in material.authorities]


@pytest.fixture(scope="module")
def first() -> Material:
    return new_material(HOSTS, LIVES, NOW)


def test_from_nothing_everything_is_made() -> None:
    made = step(None, timedelta())
    assert made is not None
    assert signers(made) == [True]


def test_nothing_is_due_while_all_is_young(first: Material) -> None:
    assert step(first, timedelta(days=59)) is None


def test_serving_certificate_that_grows_old_is_signed_by_the_authority_in_use(first: Material) -> None:
    following = step(first, timedelta(days=61))
    assert following is not None
    assert following.authorities == first.authorities
    assert following.certificate != first.certificate
    assert step(following, timedelta(days=61)) is None


def test_name_that_is_missing_is_a_reason_to_sign_anew(first: Material) -> None:
    assert renewed(first, HOSTS[:1], LIVES, NOW) is None
    assert renewed(first, (*HOSTS, "other.svc"), LIVES, NOW) is not None


LATE = timedelta(days=2500)
"""When an authority is past two thirds of its time."""


def old_authority() -> Material:
    """An authority that is, or will be, past its time, with a certificate that still holds."""
    return new_material(HOSTS, replace(LIVES, certificate=timedelta(days=3640)), NOW)


def test_new_authority_waits_until_it_is_trusted_and_heard_of() -> None:
    material, late = old_authority(), LATE
    both = step(material, late)
    assert both is not None
    assert len(both.authorities) == 2
    assert both.certificate == material.certificate
    assert signers(both) == [False, True]

    heard = late + LIVES.trust
    assert step(both, heard, trusted=False) is None
    assert step(both, heard - timedelta(seconds=1), trusted=True) is None
    taken = step(both, heard, trusted=True)
    assert taken is not None
    assert signers(taken) == [True, False]
    assert taken.authorities == both.authorities
    assert step(taken, heard) is None


def test_expired_authority_is_dropped() -> None:
    both = step(old_authority(), LATE)
    assert both is not None
    lives = replace(LIVES, certificate=timedelta(days=3000))
    taken = renewed(both, HOSTS, lives, NOW + LATE + LIVES.trust, trusted=True)
    assert taken is not None
    assert step(taken, timedelta(days=3649)) is None
    last = step(taken, timedelta(days=3651))
    assert last is not None
    assert last.authorities == taken.authorities[:1]
    assert last.certificate == taken.certificate


def test_what_nobody_renewed_in_time_is_made_anew(first: Material) -> None:
    made = step(first, timedelta(days=91))
    assert made is not None
    assert not set(made.authorities) & set(first.authorities)


def test_every_step_keeps_what_was_trusted_or_served_before() -> None:
    """Through thirty years a day at a time: neighbours in time always trust each other."""
    lives = Lifetimes(authority=timedelta(days=400), certificate=timedelta(days=90))
    material = new_material(HOSTS, lives, NOW)
    changes = 0
    for day in range(0, 3000, 5):
        now = NOW + timedelta(days=day)
        following = renewed(material, HOSTS, lives, now, trusted=True)
        if following is None:
            continue
        changes += 1
        trusting(material.bundle, following, now)
        trusting(following.bundle, material, now)
        material = following
    assert changes > 50


def trusting(bundle: str, material: Material, now: datetime) -> None:
    """Whoever has the bundle accepts what is served now."""
    served = read_certificate(material.certificate)
    assert served.not_valid_after_utc > now
    authorities = [
        read_certificate(text + "-----END CERTIFICATE-----\n")
        for text in bundle.split("-----END CERTIFICATE-----\n")[:-1]
    ]
    assert any(signed_by(served, each) and each.not_valid_after_utc > now for each in authorities)


def test_material_survives_the_secret(first: Material) -> None:
    assert Material.from_data(first.to_data()) == first


PEM_OF_NOTHING = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("member", ["ca.crt", "ca.key", "tls.crt", "tls.key"])
@pytest.mark.parametrize(
    "damage", ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", None]
)
def test_damaged_secret_is_told(first: Material, member: str, damage: str | None) -> None:
    data = first.to_data()
    if damage is None:
        del data[member]
    else:
        data[member] = damage
    with pytest.raises(BadMaterialError):
        Material.from_data(data)


def test_a_certificate_without_names_is_told(first: Material) -> None:
    """The API server goes by them alone; somebody else's certificate may lack them."""
    certificate, key = make_certificate(
        first.authorities[0], first.authority_key, (), (NOW, NOW + LIVES.skew)
    )
    with pytest.raises(BadMaterialError):
        Material.from_data(first.to_data() | {"tls.crt": certificate, "tls.key": key})


def test_keys_of_others_are_told(first: Material) -> None:
    other = new_material(HOSTS, LIVES, NOW)
    for member in ("ca.key", "tls.key"):
        with pytest.raises(BadMaterialError, match="belong"):
            Material.from_data(first.to_data() | {member: other.to_data()[member]})


def test_secret_of_one_more_life_loads_into_the_context_in_use(first: Material) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load(context, first)
    load(context, new_material(HOSTS, LIVES, NOW))
