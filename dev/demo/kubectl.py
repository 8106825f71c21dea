"""kubectl and helm against one cluster, whoever made it."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dev.errors import ToolError
from dev.shell import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FORWARD_SECONDS = 20
_UNTIL_WE_END = '"$@" & child=$!; cat >/dev/null; kill $child'
"""Standard input ends with our end, also a kill -9."""


@dataclass(frozen=True)
class Kubectl:
    """The programs, and how they find the cluster: by context or by what `env` says."""

    kubectl: Path
    helm_program: Path
    env: dict[str, str] = field(default_factory=dict, repr=False)
    context: str | None = None

    def __call__(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Run kubectl and give what it prints; a CommandError when it fails."""
        return run(*self.command(*arguments), stdin=stdin, timeout=timeout, env=self.env)

    def command(self, *arguments: str) -> list[str]:
        """Write the whole line."""
        chosen = [f"--context={self.context}"] if self.context else []
        return [str(self.kubectl), *chosen, *arguments]

    def json(self, *arguments: str) -> dict[str, Any]:
        """Run ``kubectl get ... -o json``."""
        found: dict[str, Any] = json.loads(self("get", *arguments, "-o", "json"))
        return found

    def apply(self, manifests: str) -> None:
        """Apply manifests; a field that another manager holds is taken over."""
        self("apply", "-f", "-", stdin=manifests)

    def kustomize(self, folder: Path) -> str:
        """Put the manifests of a folder together."""
        return self("kustomize", str(folder))

    def helm(self, *arguments: str, timeout: float = 180) -> str:
        """Run helm against the same cluster."""
        chosen = [f"--kube-context={self.context}"] if self.context else []
        return run(self.helm_program, *arguments, *chosen, timeout=timeout, env=self.env)

    @contextmanager
    def forwarded(self, namespace: str, target: str, port: int) -> Iterator[int]:
        """Forward a port of this machine to a Service or Pod, and give its number."""
        command = self.command("-n", namespace, "port-forward", target, f":{port}")
        with subprocess.Popen(
            ["sh", "-c", _UNTIL_WE_END, "sh", *command],
            env={**os.environ, **self.env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # a Ctrl-C is ours to pass on
        ) as process:
            yield _forwarded_port(process)


def _forwarded_port(process: subprocess.Popen[str]) -> int:
    """Read ``Forwarding from 127.0.0.1:41053 -> 3000``."""
    deadline = time.monotonic() + _FORWARD_SECONDS
    said = ""
    with selectors.DefaultSelector() as selector:
        stream = process.stdout
        if stream is None:
            message = "kubectl port-forward has no output"
            raise ToolError(message)
        selector.register(stream, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.monotonic())):
            line = stream.readline()
            said += line
            if line.startswith("Forwarding from 127.0.0.1:"):
                return int(line.split("127.0.0.1:")[1].split(" ")[0])
            if not line:
                break
    message = f"kubectl port-forward did not begin within {_FORWARD_SECONDS} s: {said.strip()}"
    raise ToolError(message)
