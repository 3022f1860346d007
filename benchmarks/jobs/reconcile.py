"""Compare two synthetic sides of many entries: reconcile.py fill|scan|merge|observe STATE ENTRIES.

``fill`` writes the ancestors, ``scan`` only exhausts both listings, ``merge`` walks them in a plain loop, and
``observe`` makes the plan through the engine. The sides differ in 300 entries: 100 changed, 100 new, 100 gone.
"""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio

from trueup.core.model import LOCAL, REMOTE, Content, Fingerprint, Key, Kind, Row, Side, Token
from trueup.core.plan import Target
from trueup.core.strategy import Policy
from trueup.engine.ambient import Ambient
from trueup.engine.job import Job
from trueup.engine.run import look
from trueup.engine.state import State
from trueup.engine.wrap import TimeLimited
from trueup.protocols import Properties

BATCH = 2048
CHANGES = 100
TARGET = Target("synthetic", "synthetic", "folder", {LOCAL: "/synthetic/local", REMOTE: "/synthetic/remote"})


def key(i: int) -> bytes:
    return b"%05d/image-%08d.dat" % (i // 500, i)


def token(side: Side, i: int) -> Token:
    offset = 0 if side == LOCAL else 50_000_000
    return Token("%x-1000-%x-%x" % (i + offset, i + 1_700_000_000_000_000_000, i + 1_700_000_001_000_000_000))  # noqa: UP031


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
        if side == REMOTE:  # gone
            return [row for i, row in enumerate(rows, begin) if i % every != 3]
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


def fill(state: State, entries: int) -> None:
    from trueup.core.model import Ancestor

    number = state.remember_target(TARGET)
    content = Content(Kind.FILE, 4096, Fingerprint("blake3", "0123456789abcdef" * 4))
    for begin in range(0, entries, 50_000):
        ancestors = (
            (Key(key(i).decode()), Ancestor(token(LOCAL, i), token(REMOTE, i), content))
            for i in range(begin, min(entries, begin + 50_000))
        )
        with state.transaction() as connection:
            state.commit_ancestors(connection, number, ancestors)


async def scan(stores: dict[Side, Synthetic]) -> None:
    for store in stores.values():
        async for _ in store.scan():
            pass


def merge(stores: dict[Side, Synthetic]) -> None:
    """What anybody would write: two listings, two positions, one loop. It knows no ancestors."""
    mine = (row for batch in stores[LOCAL].batches() for row in batch)
    theirs = (row for batch in stores[REMOTE].batches() for row in batch)
    differences = 0
    a, b = next(mine, None), next(theirs, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a[0] < b[0]):
            differences += 1
            a = next(mine, None)
        elif a is None or b[0] < a[0]:
            differences += 1
            b = next(theirs, None)
        else:
            differences += a[3] != b[3]
            a, b = next(mine, None), next(theirs, None)
    assert differences == 3 * CHANGES, differences


async def observe(state: State, stores: dict[Side, Synthetic]) -> None:
    limited = {side: TimeLimited(store, seconds=300) for side, store in stores.items()}  # type: ignore[arg-type]
    plan = await look(Job(TARGET, Policy(), limited, state, Ambient()))  # type: ignore[arg-type]
    assert len(plan.changes) == 3 * CHANGES, len(plan.changes)


def main(mode: str, directory: str, entries: int) -> None:
    stores = {side: Synthetic(side, entries) for side in (LOCAL, REMOTE)}
    match mode:
        case "fill":
            fill(State(Path(directory)), entries)
        case "scan":
            anyio.run(scan, stores)
        case "merge":
            merge(stores)
        case "observe":
            anyio.run(observe, State(Path(directory)), stores)


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
