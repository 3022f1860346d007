"""Caches: the keys of one application, looked at by namespace; they are deleted and filled again only when asked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from trueup.core.audit import Method
from trueup.core.check import Limits
from trueup.core.model import Entry, Key, Record, Recorded, Shown, Side
from trueup.core.plan import Target
from trueup.core.table import Act, Rule, Table

KIND = "cache"
CACHE = Side("cache")


class Library(StrEnum):
    """Who names the keys: the presets of `trueup.stores.cache.presets`."""

    FASTBLOCKS = "fastblocks"
    DJANGO = "django"
    AIOCACHE = "aiocache"
    CASHEWS = "cashews"
    JINJA2 = "jinja2"
    JINJA2_SHARED = "jinja2-shared"


@dataclass(frozen=True, slots=True)
class Caches:
    """One target of kind ``cache``."""

    name: str = KIND
    url: str = "memory://default"
    preset: str = "fastblocks"
    app: str = ""
    version: str = ""
    keys: tuple[str, ...] = ()
    """Further namespaces, as ``NAME=TEMPLATE``."""
    environment: Callable[[], Any] | None = None
    """Gives the application's Jinja environment, or raises where it must not be loaded; None: it has none."""
    urls: Callable[[], tuple[str, ...]] | None = None
    """Gives the pages to ask for when responses are warmed, or raises where they must not be."""
    namespaces: tuple[str, ...] = ()
    """Those that are looked at; empty: all."""
    limits: Limits = field(default_factory=Limits)

    def target(self, locations: Mapping[Side, str]) -> Target:
        """The identity of this target: which keys of which cache."""
        canonical = "\0".join((KIND, locations[CACHE]))
        identity = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return Target(identity, self.name, KIND, dict(locations))


def method(record: Callable[[Key, Mapping[Side, Shown], Act], Record]) -> Method:
    """Nothing is wrong with a cache by itself: what is to be done is asked for.

    Args:
        record: What a step is to do.
    """
    return Method(Table((CACHE,), {"a": Rule("agree")}), _identity, record)


def _identity(_: Side, __: Entry | Recorded) -> Hashable:
    return "present"
