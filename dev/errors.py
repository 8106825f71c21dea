"""The one error of the tools, made to be shown to a person as it is."""

from __future__ import annotations


class ToolError(Exception):
    """Something a person has to know about: what was wrong, and what to do."""
