from __future__ import annotations

import pytest

from globaltx.stores.kubernetes.resource import BRANCHES, NAMESPACES, PODS


def test_paths_of_the_kinds() -> None:
    assert PODS.path("shop", "web-1") == "/api/v1/namespaces/shop/pods/web-1"
    assert PODS.path() == "/api/v1/pods"
    assert NAMESPACES.path(None, "shop") == "/api/v1/namespaces/shop"
    assert (
        BRANCHES.path("shop", "b", "status") == "/apis/globaltx.io/v1alpha1/namespaces/shop/branches/b/status"
    )


def test_a_name_cannot_lead_elsewhere() -> None:
    assert PODS.path("shop", "../secrets/key?x") == "/api/v1/namespaces/shop/pods/..%2Fsecrets%2Fkey%3Fx"


@pytest.mark.parametrize(
    ("resource", "parts"),
    [
        (PODS, (None, "web")),
        (PODS, ("shop", "")),
        (PODS, ("", "web")),
        (PODS, ("shop", None, "status")),
        (NAMESPACES, ("shop", "web")),
    ],
)
def test_parts_that_do_not_fit_are_refused(resource: object, parts: tuple[str | None, ...]) -> None:
    assert resource in {PODS, NAMESPACES}
    kind = PODS if resource == PODS else NAMESPACES
    with pytest.raises(ValueError, match=kind.plural):
        kind.path(*parts)


def test_api_versions() -> None:
    assert (PODS.api_version, BRANCHES.api_version) == ("v1", "globaltx.io/v1alpha1")
