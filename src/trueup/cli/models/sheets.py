"""Rows of facts and changes: as a table, as comma-separated values, as fields of a document."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trueup.cli.models.ages import day
from trueup.render.names import count, printable
from trueup.render.text import Line, line, table
from trueup.stores.catalogue.library import Logged, Model

LISTED = ("provider", "model", "state", "context", "max_output", "price_input", "price_output", "retires_at")
"""Columns of a list."""
LOGGED = ("at", "provider", "model", "kind", "fact", "old", "new", "percent")
"""Columns of changes."""
KNOWN = ("provider", "model", "fact", "value")
EXPLAINED = ("provider", "model", "fact", "value", "source", "since", "")
COMPARED = ("", "provider", "model", "fact", "old", "new")
COUNTED = ("provider", "state", "what", "count", "unknown")


@dataclass(frozen=True, slots=True)
class Sheet:
    """Rows under headers."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: Sequence[int] = ()
    """Columns of numbers."""
    foot: str = ""

    def lines(self) -> list[Line]:
        """As a table."""
        shown = [[printable(cell) for cell in row] for row in self.rows]
        found = table(self.headers, shown, right=self.right) or [line("There is nothing to show.", "dim")]
        return [*found, line(self.foot, "dim")] if self.rows and self.foot else found

    def csv(self) -> str:
        """As comma-separated values."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.headers)
        writer.writerows([[_harmless(cell) for cell in row] for row in self.rows])
        return text.getvalue()


def listed(models: Iterable[Model]) -> Sheet:
    """A line for each model."""
    rows = [(one.provider, one.id, one.state, *(written(one.facts.get(name)) for name in LISTED[3:])) for one in models]
    return Sheet(LISTED, rows, (3, 4, 5, 6), count(len(rows), "model"))


def known(models: Iterable[Model]) -> Sheet:
    """A line for each fact."""
    rows = [
        (one.provider, one.id, name, written(value))
        for one in models
        for name, value in {
            "state": one.state,
            "since": one.record.fields["since"],
            **dict(sorted(one.facts.items())),
        }.items()
    ]
    return Sheet(KNOWN, rows)


def explained(models: Iterable[Model]) -> Sheet:
    """A line for each fact and each source of it."""
    rows: list[tuple[str, ...]] = []
    for one in models:
        fields = one.record.fields
        for name, fact in fields["facts"].items():
            rows.append((one.provider, one.id, name, written(fact["value"]), fact["source"], fact["date"], ""))
            rows += [
                (one.provider, one.id, name, written(value), source, "", "disagrees")
                for source, value in fields.get("conflicts", {}).get(name, ())
            ]
    return Sheet(EXPLAINED, rows)


def logged(changes: Iterable[Logged]) -> Sheet:
    """A line for each change."""
    return Sheet(
        LOGGED,
        [
            (
                day(one.at_ns),
                one.provider,
                one.id,
                one.kind,
                one.fact,
                written(one.old),
                written(one.new),
                f"{one.detail['percent']:+g}" if "percent" in one.detail else "",
            )
            for one in changes
        ],
    )


def compared(before: Iterable[Model], after: Iterable[Model]) -> Sheet:
    """A line for each difference between two moments."""
    old = {(one.account, one.id): one for one in before}
    new = {(one.account, one.id): one for one in after}
    rows: list[tuple[str, ...]] = []
    for account, model in sorted({*old, *new}):
        was, now = old.get((account, model)), new.get((account, model))
        provider = account.partition("@")[0]
        if was is None or now is None:
            rows.append(("+" if was is None else "-", provider, model, "", "", ""))
            continue
        mine, theirs = _stated(was), _stated(now)
        rows += [
            ("~", provider, model, name, written(mine.get(name)), written(theirs.get(name)))
            for name in sorted({*mine, *theirs})
            if mine.get(name) != theirs.get(name)
        ]
    return Sheet(COMPARED, rows, foot=count(len(rows), "difference"))


def _stated(model: Model) -> Mapping[str, Any]:
    return {**model.facts, "state": model.state}


# -- cells and fields --------------------------------------------------------------------------------------------


def written(value: Any) -> str:
    """A fact in a cell."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.10g}"
        case list() if all(isinstance(part, str) for part in value):
            return " ".join(value)
        case str() | int():
            return str(value)
        case _:
            return json.dumps(value)


def model_fields(model: Model) -> dict[str, Any]:
    """A model in a document."""
    return {
        "provider": model.provider,
        "account": model.account,
        "model": model.id,
        **{name: value for name, value in model.record.fields.items() if name != "id"},
        "state": model.state,
    }


def change_fields(change: Logged) -> dict[str, Any]:
    """A change in a document."""
    return {
        "at_ns": change.at_ns,
        "provider": change.provider,
        "account": change.account,
        "model": change.id,
        "kind": change.kind,
        "fact": change.fact,
        "old": change.old,
        "new": change.new,
        **change.detail,
    }


def _harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula (OWASP, CSV injection)."""
    return f"'{cell}" if cell[:1] in "=+-@\t\r" and not _is_number(cell) and len(cell) > 1 else cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
