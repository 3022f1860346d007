"""Names of keys: templates such as ``{app}:cached:{method:word}.{crc:digits}``, which find their own keys only.

A server is asked with a glob, in which every character of a literal is escaped; whatever it answers is then compared
with the exact form, so that a glob that finds too much deletes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from trueup.core.errors import UsageError

CLASSES: Mapping[str, bytes] = {
    "any": rb".+",
    "digits": rb"[0-9]+",
    "maybe_digits": rb"[0-9]*",
    "word": rb"[A-Za-z]+",
    "sha1": rb"[0-9a-f]{40}",
}
"""What a free part may be."""

_PART = re.compile(r"\{([a-z]+)(?::([a-z0-9_]+))?\}")
_SPECIAL = re.compile(rb"([*?\[\]\\^-])")


def escaped(literal: bytes) -> bytes:
    r"""A literal for a glob of Redis: ``* ? [ ] \`` and what means something inside brackets, each behind a backslash.

    Source: `stringmatchlen` in Redis' ``util.c``; a backslash takes the meaning from any character.
    """
    return _SPECIAL.sub(rb"\\\1", literal)


@dataclass(frozen=True)
class Pattern:
    """A template whose known parts are filled in."""

    parts: tuple[bytes | None, ...]
    """Literals; None: a free part."""
    classes: tuple[bytes, ...]
    """The expressions of the free parts, in order."""
    free: tuple[str, ...] = ()
    """Their names."""

    @property
    def glob(self) -> bytes:
        """What a server is asked for."""
        return b"".join(b"*" if part is None else escaped(part) for part in self.parts)

    @cached_property
    def _exact(self) -> re.Pattern[bytes]:
        free = iter(self.classes)
        return re.compile(
            b"".join(b"(" + next(free) + b")" if part is None else re.escape(part) for part in self.parts), re.DOTALL
        )

    def matches(self, key: bytes) -> bool:
        """Whether a key is of this form."""
        return self._exact.fullmatch(key) is not None

    def filled(self, value: str) -> bytes:
        """The key whose only free part is this.

        Raises:
            UsageError: If the template has more or fewer free parts.
        """
        if len(self.classes) != 1:
            raise UsageError("these keys cannot be computed from one name")
        said = value.encode("utf-8", "surrogateescape")
        return b"".join(said if part is None else part for part in self.parts)


def pattern(template: str, known: Mapping[str, str]) -> Pattern:
    """Fill in what is known.

    Args:
        template: Literals and parts in braces: ``{name}`` or ``{name:class}``, the classes being `CLASSES`.
        known: Values of parts; they are literals, whatever characters they hold.

    Raises:
        UsageError: If the template names an unknown class, or begins with a free part: it would match everything.
    """
    parts: list[bytes | None] = []
    classes: list[bytes] = []
    free: list[str] = []
    end = 0
    for match in _PART.finditer(template):
        parts.append(template[end : match.start()].encode())
        end = match.end()
        name, kind = match[1], match[2] or "any"
        if name in known:
            parts.append(known[name].encode("utf-8", "surrogateescape"))
            continue
        if kind not in CLASSES:
            raise UsageError(
                f"{template} has a part of an unknown class, {kind}", why=f"there are {', '.join(CLASSES)}"
            )
        parts.append(None)
        classes.append(CLASSES[kind])
        free.append(name)
    parts.append(template[end:].encode())
    merged = _merged(parts)
    if not merged or merged[0] is None:
        raise UsageError(f"{template} would match keys of every application", why="it begins with a free part")
    return Pattern(merged, tuple(classes), tuple(free))


def _merged(parts: list[bytes | None]) -> tuple[bytes | None, ...]:
    """Literals side by side become one; empty ones vanish."""
    merged: list[bytes | None] = []
    for part in parts:
        if part is None or not merged or merged[-1] is None:
            if part != b"":
                merged.append(part)
        else:
            merged[-1] += part
    return tuple(merged)


def text(key: bytes) -> str:
    """A key as people and documents have it; bytes that are no UTF-8 survive."""
    return key.decode("utf-8", "surrogateescape")


def raw(key: str) -> bytes:
    """The inverse of `text`."""
    return key.encode("utf-8", "surrogateescape")
