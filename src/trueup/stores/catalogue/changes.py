"""What changed between two versions of a model's record, by kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from trueup.core.model import Record

ACTIVE, MISSING, REMOVED = "active", "missing", "removed"
"""States of a model. A missing one was absent from the last complete list, a removed one from the one before too."""

PRICES = "price_"
CONTEXT = frozenset({"context", "max_output"})
CAPABILITIES = frozenset({"features", "endpoints", "methods", "parameters", "input_modalities", "output_modalities"})
DEPRECATION = frozenset({"deprecated", "deprecated_at", "lifecycle", "active"})
CURRENT = frozenset(
    [
        *["active", "ga", "generally-available", "stable", "current", "latest"],
        *["preview", "public-preview", "private-preview", "experimental"],
    ]
)
"""Words for a lifecycle that has not begun to end."""


class Kind(StrEnum):
    """What kind of change it is."""

    ADDED = "added"
    REACTIVATED = "reactivated"
    MISSING = "missing"
    REMOVED = "removed"
    DEPRECATED = "deprecated"
    RETIREMENT = "retirement date moved"
    PRICE = "price"
    CONTEXT = "context"
    CAPABILITY = "capability"
    ALIAS = "alias retargeted"
    CONFLICT = "source conflict"
    OTHER = "changed"
    """Anything else that the provider says of it."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One change of one model."""

    kind: Kind
    fact: str = ""
    old: Any = None
    new: Any = None
    detail: Mapping[str, float] = field(default_factory=dict)
    """Of a price: ``absolute`` in dollars per million tokens, and ``percent`` where there was a price."""


def differences(
    old: Record | None, new: Record | None, *, known: bool, owners: Mapping[str, str], model: str
) -> Iterator[Difference]:
    """Everything that changed.

    Args:
        old: The record before; None: there was none in the catalogue.
        new: The record after; None: it is removed.
        known: Whether the model was ever in the catalogue.
        owners: Which model each alias stood for when it was last seen.
        model: Whose record it is.
    """
    if new is None:
        yield Difference(Kind.REMOVED)
        return
    after = new.fields
    yield from _retargeted(after, owners, model)
    if old is None:
        yield Difference(Kind.REACTIVATED if known else Kind.ADDED)
        yield from _conflicts({}, after)
        return
    before = old.fields
    if before["state"] != after["state"]:
        yield Difference(Kind.MISSING if after["state"] == MISSING else Kind.REACTIVATED)
    if before["hash"] == after["hash"]:
        return
    changed = list(_facts(before["facts"], after["facts"]))
    yield from changed
    yield from _conflicts(before, after)
    if not changed and before.get("raw") != after.get("raw"):
        yield Difference(Kind.OTHER, "raw")


def _facts(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    for name in sorted({*before, *after}):
        old, new = value(before, name), value(after, name)
        if old != new and name != "aliases":
            kind = _kind(name, old, new)
            yield Difference(kind, name, old, new, _price(old, new) if kind is Kind.PRICE else {})


def _kind(name: str, old: Any, new: Any) -> Kind:  # noqa: PLR0911  # one line for each kind
    if name == "retires_at":
        return Kind.RETIREMENT
    if name.startswith(PRICES):
        return Kind.PRICE
    if name in CONTEXT:
        return Kind.CONTEXT
    if name == "target":
        return Kind.ALIAS
    if name in DEPRECATION:
        return Kind.DEPRECATED if _ending(name, new) else Kind.OTHER
    if name in CAPABILITIES or isinstance(old, bool) or isinstance(new, bool):
        return Kind.CAPABILITY
    return Kind.OTHER


def _ending(name: str, said: Any) -> bool:
    if name == "active":
        return said is False
    if name == "lifecycle":
        return said is not None and str(said).lower().replace("_", "-") not in CURRENT
    return said not in (None, False)


def _price(old: Any, new: Any) -> dict[str, float]:
    if not isinstance(old, int | float) or not isinstance(new, int | float):
        return {}
    detail = {"absolute": round(new - old, 9)}
    return detail | ({"percent": round((new - old) / old * 100, 2)} if old else {})


def _retargeted(after: Mapping[str, Any], owners: Mapping[str, str], model: str) -> Iterator[Difference]:
    """Names that stood for another model until now."""
    for alias in aliases(after):
        if (before := owners.get(alias)) is not None and before != model:
            yield Difference(Kind.ALIAS, alias, before, model)


def _conflicts(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    old = before.get("conflicts", {})
    for name, told in sorted(after.get("conflicts", {}).items()):
        if old.get(name) != told:
            yield Difference(Kind.CONFLICT, name, value(after["facts"], name), told)


def value(facts: Mapping[str, Any], name: str) -> Any:
    """A fact of a record; None if it is not known."""
    return facts[name]["value"] if name in facts else None


def aliases(fields: Mapping[str, Any]) -> list[str]:
    """The other names of a model that a record tells."""
    found = value(fields["facts"], "aliases")
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []
