from __future__ import annotations

import socket

import pytest

from dev.cluster.ports import RANGE, by_chance, choose_ports, is_free
from dev.errors import ToolError
from tests.ports import free_port


def _always(_port: int) -> bool:
    return True


def test_each_name_gets_a_port_of_its_own() -> None:
    chosen = choose_ports(["a", "b", "c"], {}, (), _always)
    assert len(set(chosen.values())) == 3
    assert all(port in RANGE for port in chosen.values())


def test_ports_of_other_clusters_are_left_alone() -> None:
    taken = {RANGE.start, RANGE.start + 1}
    assert choose_ports(["a"], {}, taken, _always) == {"a": RANGE.start + 2}


def test_a_port_is_kept_while_it_can_be() -> None:
    assert choose_ports(["a"], {"a": 25000}, (), _always) == {"a": 25000}


@pytest.mark.parametrize("taken", [{25000}, set()])
def test_a_port_that_somebody_took_is_given_up(taken: set[int]) -> None:
    chosen = choose_ports(["a"], {"a": 25000}, taken, lambda port: port != 25000)
    assert chosen["a"] != 25000


def test_no_free_port_is_said() -> None:
    with pytest.raises(ToolError, match="no port from 21000 to 28999"):
        choose_ports(["a"], {}, (), lambda _port: False)


def test_two_runs_choose_ports_in_different_orders() -> None:
    one, other = by_chance(RANGE), by_chance(RANGE)
    assert one != other
    assert set(one) == set(RANGE)


def test_a_port_with_a_listener_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not is_free(server.getsockname()[1])


def test_no_port_is_given_twice_to_programs_that_tests_start() -> None:
    assert len({free_port() for _ in range(500)}) == 500
