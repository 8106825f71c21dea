"""Times as resources hold them: RFC 3339, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def format_time(moment: datetime) -> str:
    """Write a time with microseconds, in UTC (``2025-01-31T23:59:59.123456Z``)."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_time(text: str | None) -> datetime | None:
    """Read an RFC 3339 time, whose letters may be small; None stays None."""
    return None if text is None else datetime.fromisoformat(text.upper())
