"""What the images install is what the tests ran with."""

from __future__ import annotations

from pathlib import Path


def test_locks_are_the_versions_that_are_tested() -> None:
    root = Path(__file__).parents[2]
    tested = pinned((root / "requirements.lock").read_text(encoding="utf-8"))
    for target in ("operator", "sidecar"):
        shipped = pinned((root / f"requirements-{target}.lock").read_text(encoding="utf-8"))
        assert shipped
        assert shipped <= tested


def pinned(lock: str) -> set[str]:
    """Names and versions; for which Pythons differs, since each lock asks for other things."""
    lines = (line.partition(";")[0].removesuffix("\\").strip() for line in lock.splitlines())
    return {line for line in lines if "==" in line and not line.startswith("#")}
