"""Times as people say them."""

from __future__ import annotations

from datetime import UTC, datetime

from trueup.core.errors import UsageError

_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def ago(ns: int | None, now_ns: int) -> str:
    """``2 hours ago``, ``Never``."""
    if ns is None:
        return "Never"
    seconds = (now_ns - ns) // 1_000_000_000
    for name, size in _UNITS:
        if seconds >= size:
            number = seconds // size
            return f"{number} {name}{'s' if number != 1 else ''} ago"
    return "just now"


def moment_of(text: str, *, end: bool) -> int:
    """Nanoseconds of an ISO date or time; without a zone it is UTC.

    Args:
        text: ``2026-11-21`` or ``2026-11-21T14:00``.
        end: Whether a date alone means its end.

    Raises:
        UsageError: If it is no date.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text} is no date", attempt="a date such as 2026-11-21, or 2026-11-21T14:00") from error
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    seconds = found.timestamp() + (86400 if end and len(text) <= len("2026-11-21") else 0)
    return int(seconds * 1e9) - (1 if end and len(text) <= len("2026-11-21") else 0)


def day(ns: int) -> str:
    """``2026-11-21 14:00`` in UTC."""
    return datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M")
