"""A plan as a page shows it: one page of its lines, and what is selected on all of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from trueup.core import codec
from trueup.core.plan import Item, Plan
from trueup.engine.served import Filter, Row, SavedPlan
from trueup.web.asked import Base, FilterBody, Selection
from trueup.web.pages.rows import Line, line, sides_of
from trueup.web.routes.common import PAGE
from trueup.web.service import Service

SHOWS: Mapping[str, tuple[str, Filter]] = {
    "": ("All", Filter()),
    "changes": ("Changes", Filter(changes=True)),
    "conflicts": ("Conflicts", Filter(standing="conflict")),
    "unknown": ("Unknown", Filter(standing="unknown")),
    "damaged": ("Damaged", Filter(standing="damaged")),
    "rest": ("Left as it is", Filter(changes=False)),
}
"""What can be shown of a plan: the word in addresses, the one for people, and which items."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines of a plan."""

    q: str = ""
    show: str = ""
    offset: int = 0

    @property
    def filter(self) -> Filter:
        """Which items."""
        return replace(SHOWS.get(self.show, SHOWS[""])[1], q=self.q)

    def address(self, **changes: Any) -> str:
        """The query of this view with something changed; a change of what is shown begins at its first line."""
        fields = {"q": self.q, "show": self.show, "offset": self.offset if not {"q", "show"} & changes.keys() else 0}
        return urlencode({name: value for name, value in (fields | changes).items() if value})


@dataclass(frozen=True, slots=True)
class PlanView:
    """One page of a plan."""

    saved: SavedPlan
    wanted: Wanted
    sides: tuple[str, ...]
    lines: Sequence[Line]
    total: int
    """Items that the filter covers."""
    changes: int
    """Of the whole plan."""
    selected: int
    """Changes of the whole plan that are selected."""
    counts: Mapping[str, int]
    """How many items each of `SHOWS` has."""
    undoes: str | None

    @property
    def shows(self) -> Mapping[str, str]:
        """What else can be shown, and how it is called: only what there is."""
        return {name: word for name, (word, _) in SHOWS.items() if not name or self.counts[name]}

    @property
    def summary(self) -> Mapping[str, Any]:
        """The plan in few numbers."""
        return self.saved.summary

    @property
    def last(self) -> int:
        """Number of the last line that is shown, counted from 1."""
        return self.wanted.offset + len(self.lines)

    @property
    def previous(self) -> str | None:
        """Query of the page before."""
        at = self.wanted.offset
        return self.wanted.address(offset=max(0, at - PAGE)) if at else None

    @property
    def next(self) -> str | None:
        """Query of the page after."""
        return self.wanted.address(offset=self.wanted.offset + PAGE) if self.last < self.total else None

    @property
    def shown(self) -> str:
        """The places of the changes on this page, for a form that says which of them are ticked."""
        return ",".join(str(one.n) for one in self.lines if one.change)

    @property
    def asks(self) -> bool:
        """Whether carrying it out takes payload away."""
        return bool(self.summary["destroys"] or any(self.summary["deletes"].values()))


def view(service: Service, saved: SavedPlan, wanted: Wanted) -> PlanView:
    """One page of a plan. Blocks."""
    rows = service.ledger.rows(saved.id)
    chosen = Selection.model_validate(saved.selection).chosen(rows)
    covers = wanted.filter.covers
    found = [row for row in rows if covers(row)]
    page = found[wanted.offset : wanted.offset + PAGE]
    plan = part(service, saved.id, [row.n for row in page])
    return PlanView(
        saved,
        wanted,
        tuple(sides_of(plan)),
        [line(row.n, item, plan, selected=row.n in chosen) for row, item in zip(page, plan.items, strict=True)],
        len(found),
        sum(row.change for row in rows),
        len(chosen),
        _counts(rows),
        plan.undoes,
    )


def _counts(rows: Iterable[Row]) -> Mapping[str, int]:
    """How many items each of `SHOWS` has. These ask for standing and change only: one look at each pair is enough."""
    alike = Counter((row.standing, row.change) for row in rows)
    kinds = [(Row(0, "", "", standing, change), number) for (standing, change), number in alike.items()]
    return {name: sum(number for row, number in kinds if one.covers(row)) for name, (_, one) in SHOWS.items()}


def part(service: Service, plan_id: str, numbers: Iterable[int]) -> Plan:
    """A plan with some of its items only, in this order. Blocks."""
    wanted = list(numbers)
    documents = service.ledger.documents(plan_id, wanted)
    header = service.ledger.header(plan_id)
    return replace(header, items=tuple(codec.decode(Item, documents[n], "item") for n in wanted))


def ticked(service: Service, saved: SavedPlan, shown: set[int], checked: set[int]) -> Selection:
    """The selection, when of the lines that were shown just these are ticked. Blocks."""
    rows = service.ledger.rows(saved.id)
    selection = Selection.model_validate(saved.selection)
    chosen = selection.chosen(rows)
    turned = {row.n for row in rows if row.change and row.n in shown and (row.n in chosen) != (row.n in checked)}
    return selection.model_copy(update={"exceptions": sorted(set(selection.exceptions) ^ turned)})


def begun_at(base: Base, wanted: Wanted) -> Selection:
    """A selection without exceptions: all, none, or what a name's part covers."""
    body = FilterBody(q=wanted.q) if base is Base.FILTER else FilterBody()
    return Selection(base=base, filter=body)


def keep(service: Service, saved: SavedPlan, selection: Selection) -> SavedPlan:
    """Keep a selection with its plan. Blocks."""
    service.ledger.select(saved.id, json.loads(selection.model_dump_json()))
    return service.ledger.saved(saved.id) or saved
