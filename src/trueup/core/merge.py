"""Find the differences between two snapshots and their ancestor, chunk by chunk, in flat memory.

The chunks of one call cover the same range of keys. Unchanged items, the overwhelming rest, are compared as plain
tuples and never become objects.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from trueup.core.model import (
    DIRECTORY_TOKEN,
    LOCAL,
    OPAQUE_KINDS,
    REMOTE,
    AncestorRow,
    Key,
    Kind,
    Row,
    Side,
    key_from_bytes,
)

Suspect = tuple[Key, Row | None, Row | None, AncestorRow | None]
"""A key on which local, remote and ancestor do not plainly agree."""


NARROW = 64
"""Rows that are looked at one by one once something in them is known to differ."""


@dataclass(slots=True)
class Shadow:
    """An opaque item, and how many known items lie below it."""

    own: bytes
    why: str
    kind: Kind
    hidden: int = 0


@dataclass(slots=True)
class Tally:
    """What one side showed in total."""

    items: int = 0
    unchanged: int = 0
    """Files that are as the ancestor says. A directory is always as it was, and would hide that every file changed."""


@dataclass(slots=True)
class Merge:
    """Accumulates over the chunks of one observation."""

    tallies: dict[Side, Tally] = field(default_factory=lambda: {LOCAL: Tally(), REMOTE: Tally()})
    ancestors: int = 0
    agreed: int = 0
    """Items on which both sides and the ancestor plainly agree."""
    shadows: dict[Side, dict[bytes, Shadow]] = field(default_factory=lambda: {LOCAL: {}, REMOTE: {}})
    """Opaque items by path without a trailing slash; they hide everything below."""
    hiding: bool = False
    distrust: bool = False
    """Whether versions count for nothing and every key is a suspect."""

    def feed(self, local: Sequence[Row], remote: Sequence[Row], ancestor: Sequence[AncestorRow]) -> list[Suspect]:
        """Compare one range of keys.

        Args:
            local: Rows of the local side, in key order.
            remote: Rows of the remote side, in key order.
            ancestor: Ancestors of the range, in key order.

        Returns:
            The suspects in key order.
        """
        self.tallies[LOCAL].items += len(local)
        self.tallies[REMOTE].items += len(remote)
        self.ancestors += len(ancestor)
        if self.distrust:
            return self._merge(local, remote, ancestor)
        return self._narrow(local, remote, ancestor)

    def _narrow(self, local: Sequence[Row], remote: Sequence[Row], ancestor: Sequence[AncestorRow]) -> list[Suspect]:
        """Halve what does not agree until little is left: few differences cost few detailed looks."""
        if len(local) == len(remote) == len(ancestor) and all(
            [  # noqa: C419  # a generator costs half as much again on this, the hottest line
                a[0] == mine[0] and a[0] == theirs[0] and a[1] == mine[1] and a[2] == theirs[1]
                for mine, theirs, a in zip(local, remote, ancestor, strict=True)
            ]
        ):
            self._plain(len(ancestor), directories=[a[1] for a in ancestor].count(DIRECTORY_TOKEN))
            return []
        longest: Sequence[tuple[Any, ...]] = max(local, remote, ancestor, key=len)
        if len(longest) <= NARROW:
            return self._merge(local, remote, ancestor)
        middle = longest[len(longest) // 2][0]
        m, t, a = (bisect_left(rows, middle, key=_raw_key) for rows in (local, remote, ancestor))
        below = self._narrow(local[:m], remote[:t], ancestor[:a])
        return below + self._narrow(local[m:], remote[t:], ancestor[a:])

    def _plain(self, count: int, *, directories: int) -> None:
        self.agreed += count
        self.tallies[LOCAL].unchanged += count - directories
        self.tallies[REMOTE].unchanged += count - directories

    def _merge(self, local: Sequence[Row], remote: Sequence[Row], ancestor: Sequence[AncestorRow]) -> list[Suspect]:
        mine = {row[0]: row for row in local}
        theirs = {row[0]: row for row in remote}
        agreed = {row[0]: row for row in ancestor}
        suspects: list[Suspect] = []
        plain = directories = 0
        for raw in sorted(mine.keys() | theirs.keys() | agreed.keys()):
            row, counterpart, base = mine.get(raw), theirs.get(raw), agreed.get(raw)
            same_local = row is not None and base is not None and row[1] == base[1]
            same_remote = counterpart is not None and base is not None and counterpart[1] == base[2]
            if same_local and same_remote and not self.distrust:
                plain += 1
                directories += raw.endswith(b"/")
                continue
            if not raw.endswith(b"/"):
                self.tallies[LOCAL].unchanged += same_local
                self.tallies[REMOTE].unchanged += same_remote
            self._cast_shadow(LOCAL, row)
            self._cast_shadow(REMOTE, counterpart)
            if not (self.hiding and self._is_hidden(raw)):
                suspects.append((key_from_bytes(raw), row, counterpart, base))
        self._plain(plain, directories=directories)
        return suspects

    def _cast_shadow(self, side: Side, row: Row | None) -> None:
        if row is not None and row[2] in OPAQUE_KINDS:
            self.shadows[side][row[0].rstrip(b"/")] = Shadow(row[0], row[6], row[2])
            self.hiding = True

    def _is_hidden(self, raw: bytes) -> bool:
        """Whether the key lies below an opaque item, or is a directory of its name; counted there if so."""
        path = raw.rstrip(b"/")
        while path:
            for shadows in self.shadows.values():
                shadow = shadows.get(path)
                if shadow is not None and raw != shadow.own:
                    shadow.hidden += 1
                    return True
            path = path.rpartition(b"/")[0]
        return False


def _raw_key(row: tuple[Any, ...]) -> bytes:
    raw: bytes = row[0]
    return raw
