"""What a server can be asked to do with a target. It is kept with the run, so that it can be resumed."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from trueup.core.check import Guard
from trueup.core.strategy import Conflict
from trueup.engine.served import Filter, Row

MANY = 1000
"""Of keys that one request may name, and of exceptions from a selection."""
Name = Annotated[str, Field(min_length=1, max_length=4096)]
"""A key, or another name of one thing."""
Names = Annotated[list[Name], Field(max_length=MANY)]


Allowed = Annotated[
    list[Annotated[Guard, Field(strict=False)]],
    Field(max_length=10, description="guards that let this one run pass; needs the scope delete"),
]


class Action(StrEnum):
    """What is asked for."""

    PLAN = "plan"
    SYNC = "sync"
    """Plan, and apply what nobody has to approve."""
    APPLY = "apply"
    UNDO = "undo"
    RESOLVE = "resolve"
    TRAINING = "training"
    """A comprehensive sync of training data."""


class Strict(BaseModel):
    """A body: unknown fields and other types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Base(StrEnum):
    """Where a selection begins."""

    ALL = "all"
    NONE = "none"
    FILTER = "filter"
    """What the filter covers."""


class FilterBody(Strict):
    """Which items; all conditions that are given must hold."""

    q: Annotated[str, Field(max_length=4096)] = ""
    reason: Annotated[str, Field(max_length=100)] = ""
    standing: Annotated[str, Field(max_length=100)] = ""

    @property
    def filter(self) -> Filter:
        """As the ledger takes it."""
        return Filter(self.q, self.reason, self.standing)


class Selection(Strict):
    """Which changes of a plan are wanted: a beginning, and exceptions from it. It stays on the server."""

    base: Annotated[Base, Field(strict=False)] = Base.ALL
    filter: FilterBody = Field(default_factory=FilterBody)
    exceptions: Annotated[list[Annotated[int, Field(ge=0, lt=2**53)]], Field(max_length=20_000)] = Field(
        default_factory=list
    )
    """Places of items for which the opposite holds."""

    def chosen(self, rows: Iterable[Row]) -> set[int]:
        """The places of the changes that are wanted."""
        exceptions, covers = frozenset(self.exceptions), self.filter.filter.covers
        return {
            row.n
            for row in rows
            if row.change
            and (self.base is Base.ALL or (self.base is Base.FILTER and covers(row))) != (row.n in exceptions)
        }


class Asked(BaseModel):
    """One request, as it is kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    action: Action
    verify: bool = False
    glance: bool = False
    allow: tuple[Guard, ...] = ()
    resolve: dict[str, Conflict] = Field(default_factory=dict)
    """Strategies for single keys; with `Action.RESOLVE` only these are touched."""
    select: Selection | None = None
    skip_stale: bool = False
    may_delete: bool = False
    """Whether deletions, and versions that are destroyed, are approved with it."""
    resumed: bool = False
    """Whether it goes on after the server ended."""
    undoes: str = ""
    """A run of the history."""
    actor: tuple[str, str] | None = None
    delete_orphans: bool = False
    dry_run: bool = False
    operation: str = ""
    """Of a cache."""
    namespaces: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    """Of model catalogues."""
    force: bool = False

    @property
    def document(self) -> dict[str, Any]:
        """Without what was not said."""
        return self.model_dump(mode="json", exclude_defaults=True)
