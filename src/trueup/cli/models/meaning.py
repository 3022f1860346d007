"""What a command of ``trueup models`` is about: which accounts, which models of them, which changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trueup.api.catalogues import Catalogue
from trueup.cli.models.ages import day
from trueup.core.errors import NotFound
from trueup.stores.catalogue.library import AccountState, Library, Logged, Model


@dataclass(frozen=True, slots=True)
class Chosen:
    """The part of the catalogue that ``--provider`` leaves."""

    catalogue: Catalogue
    providers: Sequence[str]
    """Names; empty: all."""

    @property
    def library(self) -> Library:
        """For reading."""
        return self.catalogue.library

    def accounts(self, *, everything: bool = False) -> list[AccountState]:
        """The accounts that are meant: of each provider the one whose list came last, or all."""
        found = [one for one in self.library.accounts() if not self.providers or one.provider in self.providers]
        if everything:
            return found
        latest: dict[str, AccountState] = {}
        for one in found:
            latest.setdefault(one.provider, one)
        return list(latest.values())

    def ids(self, *, everything: bool = False) -> set[str]:
        """What the catalogue calls those accounts."""
        return {one.account for one in self.accounts(everything=everything)}

    def named(self, model: str) -> list[Model]:
        """The models of an id, else those that go by that name too.

        Raises:
            NotFound: If there is none; with the nearest.
        """
        every = self.library.models(self.ids())
        found = [one for one in every if one.id == model] or [
            one for one in every if model in (one.facts.get("aliases") or ())
        ]
        if found:
            return found
        from difflib import get_close_matches

        near = get_close_matches(model, [one.id for one in every], n=1)
        if not every:
            raise NotFound("the catalogue is empty", attempt="trueup sync models")
        raise NotFound(
            f"there is no model {model}", why=f"did you mean {near[0]}?" if near else "", attempt="trueup models ls"
        )

    def changes(self, *, after_ns: int, model: str | None, kind: str | None) -> list[Logged]:
        """Changes after a moment, of one model or all, of one kind or all."""
        return [
            change
            for change in self.library.changes(after_ns=after_ns)
            if (not self.providers or change.provider in self.providers)
            and (model is None or change.id == model)
            and (kind is None or change.kind == kind)
        ]

    def state(self, one: AccountState) -> str:
        """How much its list can be believed, and what is wrong with it."""
        state = one.freshness(self.catalogue.now_ns(), self.catalogue.providers.fresh_seconds(one.provider)).value
        return state if one.failing_ns is None else f"{state}, failing since {day(one.failing_ns)}: {one.error}"


def chosen(catalogue: Catalogue, providers: Sequence[str]) -> Chosen:
    """What is meant.

    Raises:
        UsageError: If a name is that of no provider, known or recorded.
    """
    recorded = {one.provider for one in catalogue.library.accounts()}
    catalogue.providers.named([name for name in providers if name not in recorded])
    return Chosen(catalogue, providers)
