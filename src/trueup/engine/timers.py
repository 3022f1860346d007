"""A cron line as systemd writes it (systemd.time(7), "calendar events")."""

from __future__ import annotations

import re

from trueup.core.errors import UsageError

_DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_PART = re.compile(r"(\*|\d+(?:-\d+)?)(?:/(\d+))?")


def calendar(cron: str, zone: str) -> str:
    """As in ``Mon..Fri *-*-* 03:00:00 Europe/Berlin``.

    Raises:
        UsageError: If systemd has no words for it.
    """
    fields = cron.split()
    if len(fields) != 5:
        raise _wordless(cron)
    minute, hour, day, month, weekday = fields
    if day != "*" and weekday != "*":
        raise _wordless(cron)  # either of them, says cron; both of them, says systemd
    months = re.sub("|".join(_MONTHS), lambda name: str(_MONTHS.index(name[0]) + 1), month.upper())
    date = f"*-{_field(months, cron, 1)}-{_field(day, cron, 1)}"
    time = f"{_field(hour, cron, 0)}:{_field(minute, cron, 0)}:00"
    return " ".join(part for part in (_weekdays(weekday, cron), date, time, zone) if part)


def _field(text: str, cron: str, first: int) -> str:
    return ",".join(_part(part, cron, first) for part in text.split(","))


def _part(text: str, cron: str, first: int) -> str:
    found = _PART.fullmatch(text)
    if found is None:
        raise _wordless(cron)
    span, step = found[1], found[2]
    if span == "*":
        return f"{first}/{step}" if step else "*"
    if step and "-" not in span:
        raise _wordless(cron)
    return span.replace("-", "..") + (f"/{step}" if step else "")


def _weekdays(text: str, cron: str) -> str:
    if text == "*":
        return ""
    names = {name.upper(): str(number) for number, name in enumerate(_DAYS[:7])}
    numbers = re.sub("|".join(names), lambda name: names[name[0]], text.upper())
    if not re.fullmatch(r"[0-7](?:-[0-7])?(?:,[0-7](?:-[0-7])?)*", numbers):
        raise _wordless(cron)
    return re.sub(r"[0-7]", lambda number: _DAYS[int(number[0])], numbers).replace("-", "..")


def _wordless(cron: str) -> UsageError:
    return UsageError(f"systemd has no words for {cron!r}", attempt="--cron, or a simpler line")
