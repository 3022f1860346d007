"""How old the data of packages is, in words."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime

from trueup.render.names import count
from trueup.render.text import Line, line
from trueup.stores.catalogue.library import DataPackage


def ages(packages: Iterable[DataPackage], now_ns: int) -> list[Line]:
    """A line for each package that told something."""
    today = datetime.fromtimestamp(now_ns / 1e9, UTC).date()
    return [line(f"Some facts are from {age(one, today)}.", "dim") for one in packages]


def age(package: DataPackage, today: date) -> str:
    """``genai-prices 0.2.3, whose latest date is 2026-11-09, 12 days ago``."""
    if not package.as_of:
        return f"{package.name} {package.version}, which names no date"
    days = (today - date.fromisoformat(package.as_of)).days
    return f"{package.name} {package.version}, whose latest date is {package.as_of}, {count(days, 'day')} ago"
