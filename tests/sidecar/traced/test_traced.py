"""The example as processes: what takes part does so by its trace alone."""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING

import pytest

from tests.sidecar.traced.stage import SAMPLE

if TYPE_CHECKING:
    from tests.sidecar.traced.stage import Traced

pytestmark = [pytest.mark.control_plane, pytest.mark.database, pytest.mark.timeout(300)]


def test_the_services_know_nothing_of_globaltx() -> None:
    for program in (SAMPLE / "services").glob("*.py"):
        text = program.read_text().lower()
        assert not any(word in text for word in ("globaltx", "xid", "baggage")), program.name


def test_an_order_in_two_databases_commits(traced: Traced) -> None:
    before, (items, left, _) = set(traced.outcomes()), traced.rows()
    branches = set(traced.branches())
    status, said = traced.order()
    assert status == 200, said
    assert traced.settled(before) == "Commit"
    assert traced.rows() == (items + 2, left - 2, 0)
    apps = sorted(app for name, app in traced.branches().items() if name not in branches)
    assert apps == ["orders", "stock"]


@pytest.mark.parametrize(("quantity", "query"), [(2, "?fail"), (10**6, "")])
def test_an_order_that_fails_is_undone_in_both(traced: Traced, quantity: int, query: str) -> None:
    before, rows = set(traced.outcomes()), traced.rows()
    assert traced.order(quantity, query)[0] == 409
    assert traced.settled(before) == "Rollback"
    assert traced.rows() == rows


def test_orders_of_one_trace_side_by_side_and_one_after_the_other_are_not_mixed_up(traced: Traced) -> None:
    """What a browser does that traces a visit: every second one fails and takes only itself back."""
    items, left, _ = traced.rows()
    parent = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
    answers: list[tuple[int, str]] = []

    def visit() -> None:
        answers.extend(traced.order(query=query, traceparent=parent) for query in ("", "?fail", "", "?fail"))

    visits = [threading.Thread(target=visit) for _ in range(3)]
    for each in visits:
        each.start()
    for each in visits:
        each.join()
    traced.wait_until_nothing_is_open()
    good = sum(status == 200 for status, _ in answers)
    assert good >= 1, answers
    assert traced.rows() == (items + 2 * good, left - 2 * good, 0)
