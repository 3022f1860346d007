"""What a catalogue holds, counted. What is not known is counted apart: unknown is not false."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trueup.stores.http.spec import Provider

LABELS = {
    "functions": "Function calling",
    "vision": "Vision",
    "multimodal": "Multimodal",
    "reasoning": "Reasoning",
}
"""Capabilities as people call them."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """One line."""

    label: str
    count: int
    unknown: int = 0
    """Of how many it is not known."""

    def __str__(self) -> str:
        """As in ``Function calling: 12 (5 unknown)``."""
        return f"{self.label}: {self.count}" + (f" ({self.unknown} unknown)" if self.unknown else "")


def statistics(
    provider: Provider, models: Iterable[tuple[str, Mapping[str, Any]]], *, conflicts: int = 0
) -> list[Statistic]:
    """All lines for the models of a provider: the total, families, the remainder, capabilities, disagreements.

    Args:
        provider: Its families and capabilities.
        models: Ids, and what is known of them.
        conflicts: Facts that sources tell differently; a line only if there are any.
    """
    models = list(models)
    families = Counter(provider.family(name) for name, _ in models)
    lines = [Statistic("Total", len(models))]
    lines += [Statistic(name, families[name]) for name in _family_names(provider) if families[name]]
    if provider.families and families[None]:
        lines.append(Statistic("Other", families[None]))
    for fact in provider.statistics:
        told = [facts.get(fact) for _, facts in models]
        yes = sum(value is True for value in told)
        no = sum(value is False for value in told)
        lines.append(Statistic(LABELS.get(fact, fact), yes, len(models) - yes - no))
    return [*lines, Statistic("Sources disagree", conflicts)] if conflicts else lines


def _family_names(provider: Provider) -> list[str]:
    return list(dict.fromkeys(family.name for family in provider.families))
