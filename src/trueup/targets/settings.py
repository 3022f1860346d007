"""Settings in YAML: judged before they replace anything, and the application reloads them afterwards."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

KIND = "settings"
PATTERNS = ("*.yaml", "*.yml")
MOST_BYTES = 1024 * 1024
"""A larger file is not read, and not published."""


class Signal(StrEnum):
    """What tells a process to read its settings again; nothing that is meant to end one."""

    HUP = "HUP"
    USR1 = "USR1"
    USR2 = "USR2"


@dataclass(frozen=True, slots=True)
class Reload:
    """How the application is made to read its settings again. Nothing set: nobody is told."""

    signal: Signal = Signal.HUP
    pidfile: str = ""
    """A file that holds the number of the process that gets the signal."""
    url: str = ""
    """Is asked by POST; an answer of 2xx means that the settings were read."""
    call: Callable[[], object] | None = None
    """Is called in a thread; what it returns is awaited, if that can be."""
    permit: Callable[[], None] | None = field(default=None, compare=False)
    """Raises where nobody has approved that the process is signalled or the URL is asked; None: the program says so."""

    @property
    def wanted(self) -> bool:
        """Whether anybody is to be told."""
        return bool(self.pidfile or self.url or self.call is not None)


@dataclass(frozen=True, slots=True)
class Settings:
    """What is known of the files of a target of kind ``settings``."""

    check: bool = True
    """Whether a file that is not valid is held."""
    schemas: str = ""
    """Folder of JSON Schemas, ``ADAPTER.json`` each; empty: there is none."""
    reload: Reload = field(default_factory=Reload)

    @property
    def kind(self) -> str:
        """The kind of the target."""
        return KIND


def patterns_of(adapters: Iterable[str]) -> tuple[str, ...]:
    """Patterns for the files of these adapters: ``cache.yaml``, ``cache.yml``, at any depth."""
    names = (re.sub(r"([\\*?\[\]!# ])", r"\\\1", name) for name in adapters)
    return tuple(f"{name}{suffix}" for name in names for suffix in (".yaml", ".yml"))


def adapter_of(key: str) -> str:
    """The adapter whose settings a file holds: its name without what is behind the last dot."""
    return key.rpartition("/")[2].rpartition(".")[0]
