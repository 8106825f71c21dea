"""What the demo shows at its end, and where to look when it failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dev.errors import ToolError
from dev.shell import tail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dev.demo.cases import Result
    from dev.demo.kubectl import Kubectl

_LINES = 15


def table(results: Sequence[Result]) -> str:
    """One line an order: what was done, how it ended, whether it had to."""
    head = ("WHAT WAS DONE", "CLIENT GOT", "GLOBALTX", "DATABASES", "TOOK", "")
    rows = [
        (
            each.title,
            str(each.found.status),
            each.found.state,
            str(each.found.change),
            f"{each.seconds:.1f} s",
            "✓" if each.holds else f"✗ expected: {each.expected}",
        )
        for each in results
    ]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    )


def transactions(kubectl: Kubectl, namespace: str, undone: str) -> str:
    """What a user sees: the list, and one transaction that was undone."""
    listed = kubectl("-n", namespace, "get", "globaltx", "-o", "wide")
    described = kubectl("-n", namespace, "describe", f"globaltx/{undone}")
    return (
        f"$ kubectl -n {namespace} get globaltx -o wide\n{listed}\n"
        f"$ kubectl -n {namespace} describe globaltx/{undone}\n{described}"
    )


def where_to_look(kubectl: Kubectl, namespaces: Sequence[str]) -> str:
    """Pods, events and the last lines of the logs; what cannot be had is left out."""
    parts = []
    for namespace in namespaces:
        parts += [
            _said(kubectl, "-n", namespace, "get", "pods,globaltransactions,branches", "-o", "wide"),
            _said(kubectl, "-n", namespace, "get", "events", "--sort-by=.lastTimestamp"),
        ]
        for pod in _said(kubectl, "-n", namespace, "get", "pods", "-o", "name").split():
            if pod.startswith("pod/"):
                options = ("--all-containers", "--prefix", f"--tail={_LINES}")
                parts.append(_said(kubectl, "-n", namespace, "logs", pod, *options))
    return "\n\n".join(part for part in parts if part)


def _said(kubectl: Kubectl, *arguments: str) -> str:
    try:
        said = kubectl(*arguments, timeout=20)
    except ToolError as error:
        return f"{error}"
    return tail(said, 4 * _LINES) if "-o" not in arguments else said.strip()
