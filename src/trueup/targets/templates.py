"""Templates of Jinja2: parsed before they are published, and what was compiled from them is cleared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

KIND = "templates"
PATTERNS = ("*.html", "*.jinja2", "*.j2")
MOST_BYTES = 4 * 1024 * 1024
"""A larger template is not parsed, and not published."""

DELIMITERS = ("{%", "%}", "{{", "}}", "{#", "#}")
"""Of blocks, of variables and of comments: begin and end of each."""


@dataclass(frozen=True, slots=True)
class Templates:
    """What is known of the files of a target of kind ``templates``."""

    check: bool = True
    """Whether a template that cannot be parsed is held."""
    extensions: tuple[str, ...] = ()
    """Extensions of Jinja2 by their short names, as ``do``."""
    delimiters: tuple[str, ...] = DELIMITERS
    environment: Any = None
    """A `jinja2.Environment` to parse with, in place of one made from extensions and delimiters."""
    bytecode: str = ""
    """Folder of a ``jinja2.FileSystemBytecodeCache``; empty: there is none."""

    caches: tuple[str, ...] = ()
    """Names of targets of kind ``cache`` that hold something made from the templates."""
    warm: bool = False
    """Whether what was invalidated is compiled again."""

    @property
    def kind(self) -> str:
        """The kind of the target."""
        return KIND
