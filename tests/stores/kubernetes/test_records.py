from __future__ import annotations

from typing import Any

import pytest

from globaltx.stores.kubernetes.client import EventType, Listing, WatchEvent
from globaltx.stores.kubernetes.records import branches_in

READABLE = {
    "metadata": {"namespace": "shop", "name": "b"},
    "spec": {"transaction": "t", "app": "shop", "resource": "orders", "outcome": "Commit"},
}


@pytest.mark.parametrize(
    "foreign",
    [
        {},
        {"metadata": {}},
        {"metadata": {"namespace": "shop"}, "spec": {}},
        {**READABLE, "spec": {**READABLE["spec"], "outcome": "Perhaps"}},
        {**READABLE, "status": {"state": "Gone"}},
        {**READABLE, "spec": None},
    ],
)
def test_an_object_that_cannot_be_read_hides_no_other(
    foreign: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    seen = Listing((foreign, READABLE), "7")
    assert [each.id.resource for each in branches_in(seen)] == ["orders"]
    assert len(caplog.records) == 1
    assert list(branches_in(WatchEvent(EventType.MODIFIED, foreign))) == []


def test_an_event_is_one_branch() -> None:
    (found,) = branches_in(WatchEvent(EventType.ADDED, READABLE))
    assert (str(found.id.xid), found.id.app) == ("shop.t", "shop")


def test_a_branch_that_is_gone_is_no_news() -> None:
    assert list(branches_in(WatchEvent(EventType.DELETED, READABLE))) == []
