"""What providers answered, as a side of a catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trueup.core.errors import Unavailable
from trueup.core.model import Row
from trueup.protocols import Opening
from trueup.stores.records import Inventory


class ProviderStore(Inventory):
    """What providers answered, as a side. It was asked before; here is what it said.

    Args:
        rows: One for each model, and one that is opaque for each model about which nothing is known; None: nobody was
            asked, so that nothing is known at all.
        opening: Clock, threads, memory.
    """

    def __init__(self, location: str, rows: Sequence[Row] | None, opening: Opening) -> None:
        super().__init__(location, opening)
        self._rows = None if rows is None else tuple(rows)

    def rows(self) -> Iterable[Row]:
        """As `Inventory`."""
        if self._rows is None:
            raise Unavailable("no provider was asked", attempt="trueup sync models --dry-run")
        return self._rows
