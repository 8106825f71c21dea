from __future__ import annotations

import re

import pytest

from dev.cluster.binaries import MODULE, key, link_flags, sources, version_of
from dev.errors import ToolError

FILES = [("go.mod", b"module a"), ("main.go", b"package main")]
GOMOD = (MODULE / "go.mod").read_text()


@pytest.mark.parametrize(
    ("files", "machine"),
    [
        ([("go.mod", b"module b"), FILES[1]], "x86_64"),
        ([FILES[0], ("other.go", b"package main")], "x86_64"),
        ([("go.mod", b"module apackage main"), ("main.go", b"")], "x86_64"),
        (FILES, "aarch64"),
    ],
)
def test_the_key_changes_with_whatever_is_built(files: list[tuple[str, bytes]], machine: str) -> None:
    assert key(files, machine) != key(FILES, "x86_64")


def test_the_key_stays_when_nothing_changed() -> None:
    assert key(FILES, "x86_64") == key(list(FILES), "x86_64")


def test_sources_hold_the_pins_and_every_program() -> None:
    paths = [path for path, _ in sources(MODULE)]
    assert {"go.mod", "go.sum", "kubernetes/main.go", "coredns/main.go", "pause/main.go"} <= set(paths)


def test_the_programs_are_told_their_versions() -> None:
    flags = link_flags(GOMOD)
    version = version_of("k8s.io/kubernetes", GOMOD)
    assert f"-X k8s.io/component-base/version.gitVersion={version}" in flags
    assert f"-X helm.sh/helm/v3/internal/version.version={version_of('helm.sh/helm/v3', GOMOD)}" in flags


def test_all_parts_of_kubernetes_are_of_one_version() -> None:
    staged = set(re.findall(r"^\tk8s\.io/[a-z-]+ => k8s\.io/[a-z-]+ v0\.(\S+)$", GOMOD, re.MULTILINE))
    assert {f"v1.{version}" for version in staged} == {version_of("k8s.io/kubernetes", GOMOD)}


def test_a_missing_pin_is_said() -> None:
    with pytest.raises(ToolError, match="does not require"):
        version_of("example.org/none", GOMOD)
