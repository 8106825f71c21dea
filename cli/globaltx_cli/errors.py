"""The one error of the commands, shown to a person as it is."""

from __future__ import annotations


class CliError(Exception):
    """What was wrong, where, and what to do."""
