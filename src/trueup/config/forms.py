"""What values can look like: how each is read, what it allows in words, and its JSON Schema."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from trueup.config.problems import nearest
from trueup.config.secret import Place

TEXT_SCHEMA = {"type": "string", "minLength": 1}
TEXTS_SCHEMA = {"anyOf": [TEXT_SCHEMA, {"type": "array", "items": TEXT_SCHEMA}]}


class Wrong(ValueError):
    """A value is not what it must be; the text says why, and never repeats a secret."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a value looks like."""

    read: Callable[[object, Place], Any]
    """From what TOML yields, or from the text of a variable. Raises Wrong."""
    allowed: str
    """In words, after "must be"."""
    schema: Mapping[str, Any] = field(default_factory=dict)
    """JSON Schema (draft 2020-12) of what TOML yields."""
    secret: bool = False
    """Whether the value must not appear in a message."""
    number: bool = False
    """Whether a variable or flag that is written like a number means one."""

    def read_text(self, text: str, place: Place) -> Any:
        """The value that a variable or a flag gives. Raises Wrong."""
        return self.read(_number(text) if self.number else text, place)


def one_of(choices: type[StrEnum], *, without: Collection[StrEnum] = ()) -> Form:
    """A word out of a closed set."""
    names = [choice.value for choice in choices if choice not in without]

    def read(value: object, _: Place) -> StrEnum:
        if value not in names:
            raise Wrong(nearest(value, names) if isinstance(value, str) else "")
        return choices(value)

    return Form(read, f"one of {', '.join(names)}", {"enum": names})


def several(choices: type[StrEnum]) -> Form:
    """Words out of a closed set, each once; their order is kept."""
    one = one_of(choices)

    def read(value: object, place: Place) -> tuple[StrEnum, ...]:
        words = tuple(one.read(word, place) for word in (value if isinstance(value, list) else [value]))
        if len(set(words)) < len(words):
            raise Wrong("one is there twice")
        return words

    return Form(
        read, f"{one.allowed}, or a list of them", {"anyOf": [one.schema, {"type": "array", "items": one.schema}]}
    )


def whole(minimum: int, maximum: int) -> Form:
    """A whole number in a range."""

    def read(value: object, _: Place) -> int:
        if type(value) is not int or not minimum <= value <= maximum:
            raise Wrong
        return value

    schema = {"type": "integer", "minimum": minimum, "maximum": maximum}
    return Form(read, f"a whole number from {minimum} to {maximum}", schema, number=True)


def _number(text: str) -> object:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def read_text(value: object, _: Place) -> str:
    """Text of printable characters. Raises Wrong."""
    if not isinstance(value, str) or not value:
        raise Wrong
    if any(not sign.isprintable() for sign in value):
        raise Wrong("it holds control characters")
    return value


TEXT = Form(read_text, "text, and not empty", TEXT_SCHEMA)
