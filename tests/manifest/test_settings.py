"""The sidecar's settings as one text of a variable."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from globaltx.coordinator.policy import Datasource, Propagation, Route, Saga, Tcc, Tcd, Tls, TlsMode
from globaltx.manifest.settings import DatasourceSettings, EtcdSettings, HttpSettings, SidecarSettings
from globaltx.transaction.calls import Order, Reservation

DEBIT = Route(
    name="debit",
    path_template="/accounts/{id}/debit",
    propagation=Propagation.MANDATORY,
    tcc=Tcc("/confirm", "/cancel", timedelta(seconds=2), frozenset({201}), 3, ("a",), guarded=False),
)
NUMBERED = Route(name="numbered", path_regex="/v[12]/orders/[0-9]+")
BOOK = Route(
    name="book",
    path="/book",
    saga=Saga(
        "/cancel",
        Order.DEPENDENCIES,
        ("hold",),
        timedelta(seconds=2),
        frozenset({201}),
        3,
        ("a",),
        guarded=False,
    ),
)
RESERVE = Route(
    name="reserve",
    path="/reserve",
    tcd=Tcd(
        "/confirm",
        Reservation(timedelta(seconds=60), "/state", timedelta(seconds=5), frozenset({410})),
        timedelta(seconds=2),
        frozenset({201}),
        3,
        ("a",),
    ),
    request_id_header="idempotency-key",
)


@given(st.text(), st.text(), st.integers(1, 65535))
def test_any_texts_come_back_and_hold_nothing_that_kubernetes_expands(
    path: str, schema: str, port: int
) -> None:
    datasource = Datasource(
        name="a",
        host="h",
        schema=schema,
        secret="s",
        port=port,
        aliases=("x", "y"),
        tls=Tls(TlsMode.VERIFY_IDENTITY, "ca", "server"),
        sensitive_columns=("customers.iban", "*.password"),
        rows_max=7,
        guards_local_writes=True,
        guards_calls=True,
    )
    settings = SidecarSettings(
        namespace="shop",
        app="orders",
        policies=("p",),
        http=HttpSettings(
            port, (Route(name="r", path=path), DEBIT, RESERVE, BOOK, NUMBERED), edge=True, joins_by_trace=True
        ),
        datasources=(DatasourceSettings(datasource, "127.0.0.2", port),),
        etcd=EtcdSettings(("http://a:1", "http://b:1"), "/p/", ("tls", "user")),
    )
    text = settings.to_json()
    assert "$" not in text
    assert SidecarSettings.from_json(text) == settings


def test_least_settings_come_back() -> None:
    settings = SidecarSettings(namespace="shop", app="orders")
    assert SidecarSettings.from_json(settings.to_json()) == settings


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", "{}", '{"http": 3}', '{"http": {}}'])
def test_other_texts_are_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"GLOBALTX_SETTINGS|Expecting"):
        SidecarSettings.from_json(text)
