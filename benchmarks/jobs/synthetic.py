"""Sides that make up their listing, in key order, and what they agreed on."""

from collections.abc import AsyncIterator, Callable, Iterator

from trueup.core.model import LOCAL, REMOTE, Ancestor, Content, Fingerprint, Key, Kind, Row, Side, Token
from trueup.core.plan import Target
from trueup.engine.state import State
from trueup.protocols import Properties

BATCH = 2048
CHANGES = 100
"""Of each kind: changed, new, gone."""


def key(i: int) -> bytes:
    return b"%05d/image-%08d.dat" % (i // 500, i)


def token(side: Side, i: int) -> Token:
    offset = 0 if side == LOCAL else 50_000_000
    return Token("%x-1000-%x-%x" % (i + offset, i + 1_700_000_000_000_000_000, i + 1_700_000_001_000_000_000))  # noqa: UP031


def gone(i: int, entries: int) -> bool:
    """Whether the remote side has lost it."""
    return i % (entries // CHANGES) == 3


class Synthetic:
    """A side that makes up its listing."""

    def __init__(self, side: Side, entries: int) -> None:
        self.side = side
        self.entries = entries
        self.properties = Properties(location=f"/synthetic/{side}")

    def rows(self, begin: int, end: int) -> list[Row]:
        side, file = self.side, Kind.FILE
        every = self.entries // CHANGES
        rows: list[Row] = [(key(i), token(side, i), file, 4096, 10**18, 0o644, "") for i in range(begin, end)]
        for i in range(begin, end):
            if i % every == 1 and side == LOCAL:  # changed
                rows[i - begin] = (key(i), Token("changed"), file, 4097, 10**18, 0o644, "")
            if i % every == 2 and side == LOCAL:  # new
                rows.append((key(i) + b"-new", Token("new"), file, 4096, 10**18, 0o644, ""))
        if side == REMOTE:
            return [row for i, row in enumerate(rows, begin) if not gone(i, self.entries)]
        return sorted(rows) if len(rows) > end - begin else rows

    def batches(self) -> Iterator[list[Row]]:
        for begin in range(0, self.entries, BATCH):
            yield self.rows(begin, min(self.entries, begin + BATCH))

    async def scan(self) -> AsyncIterator[list[Row]]:
        for batch in self.batches():
            yield batch

    async def marker(self) -> str | None:
        return None

    async def free_bytes(self) -> int | None:
        return None


def fill(state: State, target: Target, entries: int, theirs: Callable[[int], Token]) -> None:
    """Write the ancestors.

    Args:
        state: Where.
        target: Whose.
        entries: How many.
        theirs: Versions on the remote side.
    """
    number = state.remember_target(target)
    content = Content(Kind.FILE, 4096, Fingerprint("blake3", "0123456789abcdef" * 4))
    for begin in range(0, entries, 50_000):
        ancestors = (
            (Key(key(i).decode()), Ancestor(token(LOCAL, i), theirs(i), content))
            for i in range(begin, min(entries, begin + 50_000))
        )
        with state.transaction() as connection:
            state.commit_ancestors(connection, number, ancestors)
