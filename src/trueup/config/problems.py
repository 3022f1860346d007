"""What is wrong with a configuration, and where; everything wrong is told at once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from trueup.core.errors import ConfigError
from trueup.core.urls import without_passwords

_BARE = re.compile(r"[A-Za-z0-9_-]+")
"""A key that TOML takes without quotes."""

SHOWN_CHARACTERS = 60
"""Longer values are cut in messages."""


class Source(StrEnum):
    """Where values come from; a later one wins over an earlier one."""

    DEFAULT = "default"
    SYSTEM = "system"
    USER = "user"
    PROJECT = "project"
    ENVIRONMENT = "environment"
    FLAG = "flag"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one value comes from."""

    source: Source
    path: Path | None = None
    line: int | None = None
    """Counted from 1; of the key, or of the table that holds it."""
    name: str = ""
    """The variable or flag; in a file, the profile that the value belongs to, if any."""

    def __str__(self) -> str:
        """For people: ``FILE:LINE``, a variable, a flag, or ``default``."""
        if self.path is None:
            return self.name or self.source.value
        place = printable(str(self.path)) + (f":{self.line}" if self.line else "")
        return f"{place} (profile {printable(self.name)})" if self.name else place


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong."""

    where: Origin
    what: str
    why: str = ""

    def __str__(self) -> str:
        """On one line."""
        return " - ".join(part for part in (f"{self.where}: {self.what}", self.why) if part)


def refuse(problems: Iterable[Problem]) -> None:
    """Raise what was found, all of it, in the order of files and lines; nothing found is fine.

    Raises:
        ConfigError: If there is any problem.
    """
    found = sorted(set(problems), key=lambda problem: (str(problem.where.path), problem.where.line or 0, problem.what))
    if not found:
        return
    if len(found) == 1:
        raise ConfigError(f"{found[0].where}: {found[0].what}", why=found[0].why, attempt=_mend(found[0].where))
    raise ConfigError(
        f"the configuration has {len(found)} errors",
        why="".join(f"\n  {problem}" for problem in found),
        attempt="edit these lines, the first is " + str(found[0].where),
    )


def _mend(where: Origin) -> str:
    """What to change."""
    if where.path is not None:
        return f"edit {where}"
    return f"set {where} to something else"


def dotted(path: Iterable[str]) -> str:
    """The name of a setting as TOML writes it: ``targets.site.local``."""
    return ".".join(part if _BARE.fullmatch(part) else shown(part) for part in path)


def shown(value: object) -> str:
    """A value as part of a message: quoted, cut, without the password of a URL, and unable to control a terminal."""
    if isinstance(value, str):
        value = without_passwords(value)
    scalar = isinstance(value, (str, int, float))
    text = printable(json.dumps(value, ensure_ascii=False)) if scalar else worded(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "..."


def worded(value: object) -> str:
    """The type of a value in words."""
    words = {str: "text", bool: "true or false", int: "a number", float: "a number", dict: "a table", list: "a list"}
    return words.get(type(value), "a date or time")


def printable(text: str) -> str:
    r"""Text in which control characters, and marks that turn the direction of writing, are ``\uXXXX``."""
    return "".join(sign if sign.isprintable() else _escaped(ord(sign)) for sign in text)


def _escaped(point: int) -> str:
    return f"\\u{point:04x}" if point < 1 << 16 else f"\\U{point:08x}"


def nearest(word: str, known: Iterable[str]) -> str:
    """``did you mean X?`` if one of the known words is near, else which ones there are."""
    from difflib import get_close_matches

    known = list(known)
    spelled = word.lower().replace("-", "_")
    if close := get_close_matches(spelled, known, n=1, cutoff=0.6):
        return f"did you mean {shown(close[0])}?"
    return f"known: {', '.join(printable(name) for name in known)}" if known else "there is none"
