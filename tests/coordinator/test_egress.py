"""Where sagas may call, and what they never call."""

from __future__ import annotations

import pytest

from globaltx.coordinator.egress import forbidden, refusal
from globaltx.coordinator.policy import Egress

ALLOWED = (Egress("flight", (80, 3000), ("/bookings",)), Egress("bank.example", (443,)))


@pytest.mark.parametrize(
    "url",
    [
        "http://flight/bookings",
        "http://flight:3000/bookings/7/cancel",
        "http://flight:3000/bookings?x=1",
        "http://flight/bookings/{{ steps.a.body.id }}",
        "https://bank.example/anything",
        "https://bank.example",
    ],
)
def test_what_is_allowed(url: str) -> None:
    assert refusal(url, ALLOWED, "saga.egress") == ""


@pytest.mark.parametrize(
    "url",
    [
        "http://flight:3001/bookings",
        "https://flight/bookings",
        "http://flight/bookingsandmore",
        "http://flight/",
        "http://flight/bookings/../admin",
        "http://flight/bookings/%2e%2e/admin",
        "http://flight/bookings/..%2fadmin",
        "http://flight/bookings/..\\admin",
        "http://flight/bookings/..;/admin",
        "http://flight/bookings/%2e.;a=1/admin",
        "http://flight/bookings/{{/../../admin?a=}}",
        "https://bank.e{{@evil.example/}}ample/",
        "http://hotel/bookings",
        "http://flight.evil.example/bookings",
        "http://flight@evil.example/bookings",
        "http://evil.example#flight/bookings",
        "http://{{ steps.a.body.host }}/bookings",
        "http://FLIGHT/bookings",
        "ftp://flight/bookings",
        "file:///etc/passwd",
        "//flight/bookings",
        "http://169.254.169.254/latest/meta-data",
        "",
    ],
)
def test_what_is_not(url: str) -> None:
    assert refusal(url, ALLOWED, "saga.egress")


@pytest.mark.parametrize(
    "address",
    [
        *("169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "0.0.0.0", "224.0.0.1", "::"),  # noqa: S104
        *("64:ff9b::169.254.169.254", "2002:a9fe:a9fe::1"),
        *("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16"),
    ],
)
def test_addresses_that_are_never_called(address: str) -> None:
    assert forbidden(address, named=True)
    assert forbidden(address, named=False)


def test_a_name_does_not_lead_to_the_pod_itself_but_a_policy_may_say_so() -> None:
    assert forbidden("127.0.0.1", named=True)
    assert forbidden("::1", named=True)
    assert forbidden("64:ff9b::127.0.0.1", named=True)
    assert not forbidden("127.0.0.1", named=False)
    assert not forbidden("10.1.2.3", named=True)
    assert not forbidden("64:ff9b::10.1.2.3", named=True)
