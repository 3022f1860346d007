"""Forms of plain values: sizes, times, counts, patterns, names."""

from __future__ import annotations

import math
import re
from enum import StrEnum
from typing import Any

from trueup.config.forms import TEXT_SCHEMA, TEXTS_SCHEMA, Form, Wrong
from trueup.config.hidden import Delivery
from trueup.config.places import Address
from trueup.config.problems import shown
from trueup.config.secret import Approved, Place, Secret
from trueup.core.check import Limits
from trueup.targets.datasets import unsafe

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?((?:[kKmMgGtT]i?)?[bB])")
_DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s|m|h)")
_TYPE = re.compile(r"\.[\w.-]+=[\w.+-]+/[\w.+-]+(; ?[\w-]+=[\w-]+)*")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}


def _read_switch(value: object, _: Place) -> bool:
    if not isinstance(value, bool):
        raise Wrong("without quotes" if value in ("true", "false") else "")
    return value


def _read_size(value: object, _: Place) -> int:
    if type(value) is int and value >= 0:
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Wrong("kB is 1000 bytes, KiB is 1024")
    unit = match[2].lower()
    power = " kmgt".index(unit[0]) if len(unit) > 1 else 0
    return round(float(match[1]) * float(1024 if "i" in unit else 1000) ** power)


def _read_rate(value: object, place: Place) -> int:
    text = value.removesuffix("/s") if isinstance(value, str) else value
    rate = _read_size(text, place)
    if not rate:
        raise Wrong("nothing could be written; leave it out for no limit")
    return rate


def duration(*, zero: bool) -> Form:
    """Seconds, as a number or with a unit."""

    def read(value: object, _: Place) -> float:
        match = _DURATION.fullmatch(value) if isinstance(value, str) else None
        if match:
            value = float(match[1]) * _SECONDS[match[2]]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise Wrong
        if value < 0 or (value == 0 and not zero):
            raise Wrong("it is not positive")
        return float(value)

    number = {"type": "number", "minimum": 0} if zero else {"type": "number", "exclusiveMinimum": 0}
    text = {"type": "string", "pattern": f"^{_DURATION.pattern}$"}
    return Form(read, 'seconds, or text such as "500ms", "30s", "5m", "2h"', {"anyOf": [number, text]}, number=True)


_AGE = re.compile(r"(\d+(?:\.\d+)?) ?([hdw])")
_AGE_SECONDS = {"h": 3600, "d": 86_400, "w": 7 * 86_400}


def _read_age(value: object, _: Place) -> float:
    match = _AGE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Wrong
    if not float(match[1]):
        raise Wrong("it is not positive")
    return float(match[1]) * _AGE_SECONDS[match[2]]


def _read_limits(value: object, _: Place) -> Limits:
    if not isinstance(value, (int, str)):
        raise Wrong
    try:
        return Limits.parse(str(value))
    except ValueError as error:
        raise Wrong(str(error)) from error


def _read_patterns(value: object, _: Place) -> tuple[str, ...]:
    patterns = [value] if isinstance(value, str) else value
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        raise Wrong
    if any(not pattern.strip() or "\n" in pattern for pattern in patterns):
        raise Wrong("one of them is empty or has several lines")
    return tuple(patterns)


def _read_words(value: object, _: Place) -> tuple[str, ...]:
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) and word.isidentifier() for word in words):
        raise Wrong
    return tuple(words)


def _read_names(value: object, _: Place) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise Wrong
    return tuple(names)


def _read_types(value: object, place: Place) -> tuple[str, ...]:
    types = _read_patterns(value, place)
    if odd := [text for text in types if not _TYPE.fullmatch(text)]:
        raise Wrong(f"{shown(odd[0])} is none")
    return types


def _read_delimiters(value: object, _: Place) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) != 6 or not all(isinstance(mark, str) and mark for mark in value):
        raise Wrong
    if len({value[0], value[2], value[4]}) != 3:
        raise Wrong("two of them begin alike")
    return tuple(value)


def _read_actor(value: object, _: Place) -> str:
    if not isinstance(value, str):
        raise Wrong("in quotes, so that its zeros count" if isinstance(value, int) else "")
    if why := unsafe(value):
        raise Wrong(why)
    return value


def _read_days(value: object, _: Place) -> tuple[int, ...]:
    days = value if isinstance(value, list) else [value]
    if not all(type(day) is int and day >= 0 for day in days):
        raise Wrong
    return tuple(sorted(set(days), reverse=True))


SWITCH = Form(_read_switch, "true or false", {"type": "boolean"})
SIZE = Form(
    _read_size,
    'bytes, or text such as "10MB", "64KiB"',
    {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": f"^{_SIZE.pattern}$"}]},
    number=True,
)
RATE = Form(
    _read_rate,
    'bytes per second, or text such as "10MB"',
    {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": f"^{_SIZE.pattern}(/s)?$"}]},
    number=True,
)
LIMITS = Form(
    _read_limits,
    'a count, or a percentage such as "20%"',
    {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^\d+(\.\d+)?%?$"}]},
)
PATTERNS = Form(_read_patterns, "a pattern, or a list of patterns, as in .gitignore", TEXTS_SCHEMA)
NAMES = Form(_read_names, "a name, or a list of names", TEXTS_SCHEMA)
WORDS = Form(_read_words, "a word, or a list of words", TEXTS_SCHEMA)
TYPES = Form(_read_types, "a list of .SUFFIX=TYPE", TEXTS_SCHEMA)
DELIMITERS = Form(
    _read_delimiters,
    "a list of six",
    {"type": "array", "items": TEXT_SCHEMA, "minItems": 6, "maxItems": 6},
)
AGE = Form(_read_age, 'text such as "12h", "30d", "2w"', {"type": "string", "pattern": f"^{_AGE.pattern}$"})
ACTOR = Form(_read_actor, "text that can be a part of a path", TEXT_SCHEMA)


DAYS = Form(
    _read_days,
    "a number of days, or a list of them",
    {
        "anyOf": [
            {"type": "integer", "minimum": 0},
            {"type": "array", "items": {"type": "integer", "minimum": 0}},
        ]
    },
)


def plain(value: object) -> Any:
    """A value that was read, as JSON types; secrets as how they are got."""
    if isinstance(value, Secret | Delivery):
        return value.plain()
    if isinstance(value, Address):
        return value.url
    if isinstance(value, Limits):
        return str(value)
    if isinstance(value, Approved):
        return list(value.said) if len(value.said) > 1 else value.said[0]
    if isinstance(value, tuple):
        return list(value)
    return value.value if isinstance(value, StrEnum) else value
