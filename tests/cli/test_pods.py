"""Which pods `check` complains about."""

from typing import Any

from globaltx.coordinator.policy import Datasource, HttpCapture, Policy, Route
from globaltx.manifest.settings import DatasourceSettings, HttpSettings, SidecarSettings
from globaltx_cli.findings import Level, report
from globaltx_cli.pods import check_pods

ORDERS = Datasource(name="orders", host="db.example", schema="orders", secret="db", aliases=("db",))
CREATE = Route(name="create", path="/create")
POLICY = Policy("shop", "order", {"app": "order"}, HttpCapture("http", (CREATE,)), (ORDERS,))
SETTINGS = SidecarSettings(
    namespace="shop",
    app="order",
    policies=("order",),
    http=HttpSettings(3000, (CREATE,)),
    datasources=(DatasourceSettings(ORDERS, "127.0.0.2", 3306),),
)


def _pod(settings: str | None, *, ready: bool = True, asks: str = "true", phase: str = "Running") -> Any:
    sidecar = {"name": "globaltx-sidecar", "env": [{"name": "GLOBALTX_SETTINGS", "value": settings}]}
    return {
        "metadata": {
            "name": "order-1",
            "labels": {"app": "order"},
            "annotations": {"globaltx.io/inject": asks},
        },
        "spec": {"initContainers": [] if settings is None else [sidecar]},
        "status": {
            "phase": phase,
            "initContainerStatuses": [{"name": "globaltx-sidecar", "ready": ready}],
        },
    }


def _levels(*pods: Any, policies: tuple[Policy, ...] = (POLICY,)) -> list[tuple[Level, str]]:
    return [(each.level, each.sentence) for each in check_pods(pods, policies)]


def test_a_pod_that_takes_part() -> None:
    assert _levels(_pod(SETTINGS.to_json())) == [(Level.OK, "takes part as app order")]


def test_a_pod_that_asked_and_was_not_injected() -> None:
    ((level, sentence),) = _levels(_pod(None))
    assert level is Level.PROBLEM
    assert "has no sidecar" in sentence


def test_a_pod_whose_sidecar_is_not_ready() -> None:
    ((level, sentence),) = _levels(_pod(SETTINGS.to_json(), ready=False))
    assert level is Level.PROBLEM
    assert "kubectl logs -c globaltx-sidecar" in sentence


def test_a_pod_that_was_made_before_the_policy_changed() -> None:
    moved = Datasource(name="orders", host="new.example", schema="orders", secret="db", aliases=("db",))
    changed = Policy("shop", "order", {"app": "order"}, POLICY.http, (moved,))
    ((level, sentence),) = _levels(_pod(SETTINGS.to_json()), policies=(changed,))
    assert level is Level.WARNING
    assert "older state of policy order" in sentence


def test_unreadable_settings() -> None:
    ((level, sentence),) = _levels(_pod("{"))
    assert level is Level.PROBLEM
    assert "cannot be read" in sentence


def test_pods_that_did_not_ask_or_have_ended_are_passed_over() -> None:
    found = _levels(_pod(None, asks="false"), _pod(None, phase="Succeeded"))
    assert [level for level, _ in found] == [Level.WARNING]  # the policy has no pod then
    assert "selects no pod" in found[0][1]


def test_the_report_counts() -> None:
    shown = report(list(check_pods([_pod(None)], [POLICY])))
    assert shown.endswith("1 checked, 1 problem, 0 warnings")
