"""What data packages say of a provider's models: prices and sizes that its own list does not tell.

A package is data that somebody keeps; nothing is asked over the network. It never replaces what a provider lists:
where both speak and differ, the difference is kept as a conflict.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from trueup.core.errors import ConfigError
from trueup.stores.http.entries import RULE, Entry
from trueup.stores.http.spec import Provider

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

EXTRA = "pip install 'trueup[enrich]'"


@dataclass(frozen=True, slots=True)
class Package:
    """One data package, read."""

    name: str
    version: str
    as_of: str
    """The latest date in its data that is past, an ISO date: how old the data is at most. Empty: it holds none."""
    tell: Callable[[str, Sequence[str]], tuple[str, Mapping[str, Any]]]
    """What it knows of a model, by the provider's name in the package and the spellings of the model's id: the source,
    and facts in our units."""


def installed(name: str) -> str:
    """The version of a data package.

    Raises:
        ConfigError: If it is not installed. To go on without it would take its facts back.
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError as error:
        raise ConfigError(f"{name} is not installed", why="[models] enrich names it", attempt=EXTRA) from error


def packages(names: Iterable[str], today: date) -> tuple[Package, ...]:
    """Read data packages; takes half a second.

    Args:
        names: Of `trueup.targets.models.Source`, by precedence.
        today: For prices that begin at a date, in UTC.

    Raises:
        ConfigError: If one is not installed.
    """
    return tuple(_READERS[name](installed(name), today) for name in names)


def enriched(provider: Provider, entry: Entry, known: Sequence[Package]) -> Entry:
    """The entry with what data packages add to it.

    What is listed stays. A package comes before a rule about a whole family; the first package that knows a fact
    counts. All that differs becomes a conflict.
    """
    facts, sources = dict(entry.facts), dict(entry.sources)
    conflicts = {name: list(told) for name, told in entry.conflicts.items()}
    for package in known:
        if (named := provider.curated.get(package.name)) is None:
            continue
        origin, found = package.tell(named, (entry.id, provider.strip + entry.id))
        for name, value in found.items():
            old, source = facts.get(name), sources.get(name)
            if source is None or source == RULE:
                facts[name], sources[name] = value, origin
            if source is not None and not _equal(old, value):
                other = (source, old) if source == RULE else (origin, value)
                conflicts.setdefault(name, []).append(other)
    if facts == entry.facts and conflicts == entry.conflicts:
        return entry
    told = {name: value for name, value in facts.items() if sources[name] != entry.sources.get(name)}
    text = json.dumps([entry.hash, told, conflicts], sort_keys=True)
    return replace(
        entry,
        facts=facts,
        sources=sources,
        conflicts=conflicts,
        hash=hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32],
    )


def _equal(one: Any, other: Any) -> bool:
    """Prices come from different units, by different ways."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9)
    return bool(one == other)


# -- genai-prices: https://github.com/pydantic/genai-prices, MIT ---------------------------------------------------

_PRICES = {"price_input": "input_mtok", "price_output": "output_mtok", "price_cached_input": "cache_read_mtok"}
"""Dollars per million tokens, as ours."""


def _genai_prices(release: str, today: date) -> Package:
    from genai_prices.data import providers

    name, known = "genai-prices", {provider.id: provider for provider in providers}

    def tell(provider: str, spellings: Sequence[str]) -> tuple[str, Mapping[str, Any]]:
        for model in spellings if provider in known else ():
            if (own := known[provider].find_model(model)) is not None:
                return name, _told(own, today)
            for other in known[provider].fallback_model_providers or ():
                # The same model elsewhere: as large as here, and at prices that say nothing of those here.
                if (found := known[other].find_model(model)) is not None:
                    size = {fact: value for fact, value in _told(found, today).items() if fact == "context"}
                    return f"{name}/{other}", size
        return name, {}

    starts = (start for provider in providers for model in provider.models for start in _starts(model))
    as_of = max((start for start in starts if start <= today), default=None)
    return Package(name, release, "" if as_of is None else as_of.isoformat(), tell)


def _told(model: ModelInfo, today: date) -> Mapping[str, Any]:
    facts: dict[str, Any] = {}
    if model.context_window:
        facts["context"] = model.context_window
    if model.deprecated:
        facts["deprecated"] = True
    if (prices := _prices(model, today)) is not None:
        for name, key in _PRICES.items():
            price = getattr(prices, key, None)
            if price is not None:
                facts[name] = float(getattr(price, "base", price))  # what the first tokens cost, if it goes by tiers
    return facts


def _prices(model: ModelInfo, today: date) -> ModelPrice | None:
    """The prices of a day; None if they depend on its hours: what changes twice a day is no fact to record."""
    from genai_prices.types import ModelPrice, StartDateConstraint

    if isinstance(model.prices, ModelPrice):
        return model.prices
    begun = None
    for price in model.prices:  # the last that has begun counts
        if isinstance(price.constraint, StartDateConstraint):
            begun = price.prices if price.constraint.start_date <= today else begun
        elif price.constraint is None:
            begun = price.prices
        else:
            return None
    return begun


def _starts(model: ModelInfo) -> list[date]:
    from genai_prices.types import StartDateConstraint

    conditional = [*(model.price_variants or ()), *(model.prices if isinstance(model.prices, list) else ())]
    return [one.constraint.start_date for one in conditional if isinstance(one.constraint, StartDateConstraint)]


_READERS: Mapping[str, Callable[[str, date], Package]] = {"genai-prices": _genai_prices}
