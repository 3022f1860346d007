"""Compare two synthetic sides of many entries: reconcile.py fill|scan|merge|observe STATE ENTRIES.

``fill`` writes the ancestors, ``scan`` only exhausts both listings, ``merge`` walks them in a plain loop, and
``observe`` makes the plan through the engine. The sides differ in 300 entries: 100 changed, 100 new, 100 gone.
"""

import sys
from functools import partial
from pathlib import Path

import anyio
from synthetic import CHANGES, Synthetic, fill, token

from trueup.core.model import LOCAL, REMOTE, Side
from trueup.core.plan import Target
from trueup.core.strategy import Policy
from trueup.engine.ambient import Ambient
from trueup.engine.job import Job
from trueup.engine.run import look
from trueup.engine.state import State
from trueup.engine.wrap import TimeLimited

TARGET = Target("synthetic", "synthetic", "folder", {LOCAL: "/synthetic/local", REMOTE: "/synthetic/remote"})


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
    plan = await look(Job(TARGET, Policy(), limited, state, Ambient()))
    assert len(plan.changes) == 3 * CHANGES, len(plan.changes)


def main(mode: str, directory: str, entries: int) -> None:
    stores = {side: Synthetic(side, entries) for side in (LOCAL, REMOTE)}
    match mode:
        case "fill":
            fill(State(Path(directory)), TARGET, entries, partial(token, REMOTE))
        case "scan":
            anyio.run(scan, stores)
        case "merge":
            merge(stores)
        case "observe":
            anyio.run(observe, State(Path(directory)), stores)
        case _:
            raise SystemExit(__doc__)


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
