"""A real Kubernetes on this machine, for development and tests.

`python -m dev.cluster up` on the command line, `Cluster.up()` in Python.
"""

from dev.cluster.cluster import DEFAULT, Cluster, remove
from dev.cluster.state import Component, Mode
from dev.errors import ToolError
from dev.shell import CommandError

__all__ = ["DEFAULT", "Cluster", "CommandError", "Component", "Mode", "ToolError", "remove"]
