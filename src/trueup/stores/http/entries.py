"""From what a provider answers to what is recorded of a model: facts in one unit, and a hash that means "changed"."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from trueup.stores.http.spec import Fact, Provider, at

DOLLARS_PER_MILLION = {"usd/token": Decimal(10) ** 6, "usd/1M": Decimal(1), "cents/100M": Decimal("0.0001")}
"""What a price has to be multiplied by. xAI writes cents per 100 million tokens: 30000 is $3 per million."""

RULE = "rule"
"""The source of what the vendor says of a whole family."""

MOST_LEVELS = 64
"""Real entries have four."""

MOST_CHARACTERS = 512
"""Longer ids are not believed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One model as a provider lists it."""

    id: str
    facts: Mapping[str, Any]
    """JSON values; what is not known is not there."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Where each fact comes from: ``native`` (the list itself), a path of another list, or ``rule``."""
    conflicts: Mapping[str, Sequence[tuple[str, Any]]] = field(default_factory=dict)
    """Facts that other sources told otherwise: source and value."""
    raw: Mapping[str, Any] = field(default_factory=dict)
    hash: str = ""
    """Equal for entries between which nothing has changed that means anything."""


def entry(provider: Provider, raw: Mapping[str, Any], details: Sequence[tuple[str, Mapping[str, Any]]] = ()) -> Entry:
    """What an entry says.

    Args:
        provider: Who lists it.
        raw: The entry.
        details: The same model in other lists, each after the list's path.

    Raises:
        ValueError: If it has no usable id.
    """
    return named(provider, identifier(provider, raw), raw, details)


def named(
    provider: Provider, model: str, raw: Mapping[str, Any], details: Sequence[tuple[str, Mapping[str, Any]]]
) -> Entry:
    """As `entry`, of a model whose `identifier` is known."""
    facts = _facts(provider, raw)
    sources = dict.fromkeys(facts, "native")
    conflicts: dict[str, list[tuple[str, Any]]] = {}
    for path, more in details:
        for name, value in _facts(provider, more).items():
            if name not in facts:
                facts[name], sources[name] = value, path
            elif facts[name] != value:
                conflicts.setdefault(name, []).append((path, value))
    _infer(provider, model, facts, sources)
    whole = dict(raw) | ({"details": {path: dict(more) for path, more in details}} if details else {})
    return Entry(model, facts, sources, conflicts, whole, _hash(provider, facts, whole))


def _infer(provider: Provider, model: str, facts: dict[str, Any], sources: dict[str, str]) -> None:
    """Add what follows from other facts, and what the vendor says of the family. Nothing replaces what is listed."""
    if isinstance(modalities := facts.get("input_modalities"), list):
        words = [str(one).lower() for one in modalities]
        for name, value in (("vision", "image" in words), ("multimodal", len(words) > 1)):
            if name not in facts:
                facts[name], sources[name] = value, sources["input_modalities"]
    for rule in provider.rules:
        if re.search(rule.match, model):
            for name, value in rule.facts.items():
                if name not in facts:
                    facts[name], sources[name] = value, RULE


def identifier(provider: Provider, raw: object) -> str:
    """The model's id.

    Raises:
        ValueError: If there is none that can be used.
    """
    found = at(raw, provider.id)
    if not isinstance(found, str) or not found or len(found) > MOST_CHARACTERS or not found.isprintable():
        raise ValueError(f"an entry has no usable {provider.id}")
    return found.removeprefix(provider.strip)


def too_deep(value: object) -> bool:
    """Whether a value is nested so deeply that nobody could have meant it, and reading it might end the process."""
    level: list[object] = [value]
    for _ in range(MOST_LEVELS):
        below: list[object] = []
        for one in level:
            if isinstance(one, dict):
                below += one.values()
            elif isinstance(one, list):
                below += one
        if not below:
            return False
        level = below
    return True


def _facts(provider: Provider, raw: Mapping[str, Any]) -> dict[str, Any]:
    read = {name: _value(at(raw, fact.path), fact) for name, fact in provider.facts.items()}
    return {name: value for name, value in read.items() if value is not None}


def _value(value: Any, fact: Fact) -> Any:
    """A fact in our unit; None where the provider says nothing that can be understood."""
    if value is None or value == "":
        return None
    if fact.has or fact.ends:
        return _picked(value, fact)
    match fact.unit:
        case "unix":
            return _date_of(value)
        case "date":
            return _date(value)
        case unit if unit in DOLLARS_PER_MILLION:
            return _price(value, DOLLARS_PER_MILLION[unit])
        case _:
            return value


def _picked(value: Any, fact: Fact) -> Any:
    if fact.has:
        return fact.has in value if isinstance(value, list) else None
    found = [part for key, part in value.items() if key.endswith(fact.ends)] if isinstance(value, dict) else []
    return found[0] if len(found) == 1 else None


def _date_of(seconds: Any) -> str | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < 1e11:
        return None
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def _date(text: Any) -> str | None:
    if isinstance(text, int | float):
        return _date_of(text)
    try:
        return datetime.fromisoformat(str(text)).date().isoformat()
    except ValueError:
        return None


def _price(value: Any, factor: Decimal) -> float | None:
    """Dollars per million tokens. Negative prices stand for "depends" (OpenRouter's router): not known."""
    try:
        price = Decimal(str(value)) * factor
    except InvalidOperation:
        return None
    number = float(price)
    return number if math.isfinite(number) and number >= 0 else None


def _hash(provider: Provider, facts: Mapping[str, Any], raw: Mapping[str, Any]) -> str:
    stable = {name: value for name, value in facts.items() if not _is_volatile(provider, name)}
    parts = [stable, _without(raw, provider.volatile)]
    text = _TEXT.encode(parts)
    if "[" in text[1:]:  # there is a list, whose order may mean nothing
        text = _TEXT.encode(_canonical(parts))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


_TEXT = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def _is_volatile(provider: Provider, fact: str) -> bool:
    return provider.facts[fact].path in provider.volatile if fact in provider.facts else False


def _without(raw: Mapping[str, Any], paths: Sequence[str]) -> dict[str, Any]:
    kept = dict(raw)
    for path in paths:
        first, _, rest = path.partition(".")
        if rest and isinstance(kept.get(first), dict):
            kept[first] = _without(kept[first], [rest])
        else:
            kept.pop(first, None)
    if isinstance(details := kept.get("details"), dict) and paths:
        kept["details"] = {
            name: _without(more, paths) if isinstance(more, dict) else more for name, more in details.items()
        }
    return kept


def _canonical(value: Any) -> Any:
    """The same for what differs only in the order of keys, or of words in a list."""
    if isinstance(value, dict):
        return {name: _canonical(part) for name, part in value.items()}
    if isinstance(value, list):
        parts = [_canonical(part) for part in value]
        return sorted(parts) if all(isinstance(part, str) for part in parts) else parts
    return value
