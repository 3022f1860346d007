"""Names, sizes, counts and times as people read them. Hostile names cannot speak to the terminal."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

_DECEPTIVE = frozenset("\u061c\u200b\u200e\u200f\u2028\u2029\u2060\ufeff")
"""Invisible, line-breaking or direction-changing, beside the ranges below."""


_NEXT_ROOT = re.compile(r"\n(?=[^/\n]+=[^/\n]*/)")
"""What `trueup.stores.joined` puts between the roots of one side."""


_YEAR_9999_NS = 253_370_764_800 * 10**9
"""Its first day; later ones have no datetime in every zone."""

_UNITS = ("kB", "MB", "GB", "TB", "PB")


def printable(text: str) -> str:
    r"""The text without anything that a terminal would obey or hide.

    Control characters become ``\n``, ``\x1b`` or ``\u0085``; characters that reverse or hide text ``\u202e``; bytes
    that are not UTF-8 (surrogate-escaped in keys) ``\xff``. Everything else stays as it is.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_escape, text))


def _escape(char: str) -> str:
    point = ord(char)
    if char in _SHORT:
        return _SHORT[char]
    if 0xDC80 <= point <= 0xDCFF:
        return f"\\x{point - 0xDC00:02x}"
    if point < 0x20 or point == 0x7F:
        return f"\\x{point:02x}"
    if 0x80 <= point < 0xA0 or 0x202A <= point <= 0x202E or 0x2066 <= point <= 0x2069 or char in _DECEPTIVE:
        return f"\\u{point:04x}"
    if 0xD800 <= point <= 0xDFFF or 0xE0000 <= point <= 0xE007F:
        return f"\\U{point:08x}"
    return char


def place(text: str) -> str:
    """A location, or a sentence with one in it: several roots, one a line, become ``a=/one, b=/two``."""
    return ", ".join(printable(part) for part in _NEXT_ROOT.split(text))


def quote(text: str) -> str:
    """One argument of a shell command, safe to print and to paste."""
    shown = printable(text)
    if shown == text:
        return shlex.quote(text)
    escaped = "".join("\\" + char if char in "'\\" else _escape(char) for char in text)
    return f"$'{escaped}'"


def width(text: str) -> int:
    """Columns that printable text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def pad(text: str, columns: int) -> str:
    """The text, filled up with blanks on the right."""
    return text + " " * (columns - width(text))


def size(count: int | None) -> str:
    """Bytes in decimal units: ``0 B``, ``999 B``, ``1.2 MB``, ``12 MB``."""
    if count is None:
        return "?"
    if count < 1000:
        return f"{count} B"
    value, power = count / 1000, 0
    while value >= 999.5 and power < len(_UNITS) - 1:
        value, power = value / 1000, power + 1
    unit = _UNITS[power]
    return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"


def count(number: int, noun: str, plural: str = "") -> str:
    """``1 change``, ``2 changes``, ``12,000 changes``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def listing(parts: Iterable[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *most, last = list(parts) or [""]
    return f"{', '.join(most)} and {last}" if most else last


def moment(ns: int, zone: tzinfo | None = None) -> str:
    """``2025-01-31 14:02:07`` in the zone, local time by default; ``-`` for 0, which means not known.

    ``-`` also stands for a time that no calendar has: a file can bear any.
    """
    if not 0 < ns < _YEAR_9999_NS:
        return "-"
    return datetime.fromtimestamp(ns / 1e9, UTC).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3 min 5 s``, ``2 h 10 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
