"""Options that take one of a closed set of words."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def word_option(flag: str, kind: type[StrEnum], *, explain: str, multiple: bool = False) -> Callable[[F], F]:
    """An option that takes one of a closed set of words; hyphens and capitals are forgiven."""
    words = [member.value for member in kind]

    def convert(value: object) -> StrEnum:
        wanted = str(value).lower().replace("_", "-")
        for member in kind:
            if wanted == member.value.replace("_", "-"):
                return member
        from difflib import get_close_matches

        near = get_close_matches(str(value), words, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(words)}"
        raise click.BadParameter(f"{str(value)!r}; {hint}")

    def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    metavar = "[" + "|".join(words) + "]"
    return click.option(flag, type=convert, metavar=metavar, multiple=multiple, shell_complete=complete, help=explain)
