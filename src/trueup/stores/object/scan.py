"""A listing as rows of the engine."""

from __future__ import annotations

from collections.abc import Callable

from trueup.core.model import OPAQUE_TOKEN, Key, Kind, Row, Token
from trueup.protocols import Filter
from trueup.stores.object.bucket import timed_token
from trueup.stores.object.connect import Place
from trueup.stores.object.listing import Everything, Listed
from trueup.stores.object.names import RESERVED

_RESERVED = f"{RESERVED}/".encode()
_DIRECTORIES = 10_000
"""How many verdicts about excluded directories are remembered at most."""


class Scan:
    """One pass over one place, as rows."""

    def __init__(self, place: Place, bounds: Filter | None, problem: Callable[[Key], str | None]) -> None:
        self._problem = problem
        self._filter = bounds
        self._excluded: dict[str, bool] = {}
        self.pages = Everything(place)
        self.slashed = 0
        """Names that end in a slash and hold bytes: they can be neither addressed nor shown."""

    def next(self) -> list[Row]:
        """Some rows; none at the end."""
        while page := self.pages.next():
            if rows := [row for one in page if (row := self._row(one)) is not None]:
                return rows
        return []

    def _row(self, listed: Listed) -> Row | None:
        raw, token, size, modified_ns, odd = listed
        if raw.startswith(_RESERVED):
            return None
        if odd and (raw.endswith(b"/") or self._problem(Key(raw.decode())) is not None):
            return self._opaque(raw, size)
        if self._filter is not None:
            if self._excludes(self._filter, raw.decode()):
                return None
            if self._filter.excludes_size(size):
                return (raw, OPAQUE_TOKEN, Kind.FILTERED, size, 0, None, "excluded by size")
        version = Token(token) if token else timed_token(size, modified_ns)
        return (raw, version, Kind.FILE, size, modified_ns, None, "")

    def _opaque(self, raw: bytes, size: int) -> Row | None:
        """What cannot be addressed is shown, never taken for another object; other tools' folder markers are not."""
        if raw.endswith(b"/") and b"//" not in raw:
            self.slashed += size
            return None
        why = "empty name component" if raw.endswith(b"/") else self._problem(Key(raw.decode()))
        return (raw, OPAQUE_TOKEN, Kind.UNREADABLE, 0, 0, None, why or "")

    def _excludes(self, bounds: Filter, path: str) -> bool:
        directory = path.rpartition("/")[0]
        return (directory != "" and self._below_excluded(bounds, directory)) or bounds.excludes(path, directory=False)

    def _below_excluded(self, bounds: Filter, directory: str) -> bool:
        known = self._excluded.get(directory)
        if known is None:
            above = directory.rpartition("/")[0]
            known = (above != "" and self._below_excluded(bounds, above)) or bounds.excludes(directory, directory=True)
            if len(self._excluded) >= _DIRECTORIES:
                self._excluded.clear()
            self._excluded[directory] = known
        return known
