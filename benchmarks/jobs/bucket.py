"""Compare a made-up folder with a bucket of `service`: bucket.py fill|scan|plan STATE ENTRIES ENDPOINT.

``fill`` writes the ancestors, ``scan`` only lists the bucket by way of the store, ``plan`` makes the plan through the
engine. 300 entries differ, as in `reconcile`.
"""

import sys
from pathlib import Path

import anyio
from synthetic import CHANGES, Synthetic, fill

from trueup.core.model import LOCAL, REMOTE, Token
from trueup.core.plan import Target
from trueup.core.strategy import Policy
from trueup.engine.ambient import Ambient
from trueup.engine.job import Job
from trueup.engine.run import look
from trueup.engine.state import State
from trueup.engine.wrap import TimeLimited
from trueup.protocols import Access
from trueup.stores.object import ObjectStore
from trueup.stores.object.connect import connect

TARGET = Target("synthetic", "synthetic", "folder", {LOCAL: "/synthetic/local", REMOTE: "s3://test"})


def etag(i: int) -> Token:
    return Token(f"{i:032x}")


def bucket(endpoint: str, ambient: Ambient) -> ObjectStore:
    access = Access("s3://test", endpoint=endpoint, access_key=lambda: "test", secret_key=lambda: "testtest")
    place = connect("s3://test", (access,), {})
    return ObjectStore(place, clock=ambient.clock, threads=ambient.threads, unique=ambient.unique)


async def scan(store: ObjectStore, entries: int) -> None:
    listed = 0
    async for batch in store.scan():
        listed += len(batch)
    assert listed == entries - CHANGES, listed


async def plan(state: State, store: ObjectStore, entries: int) -> None:
    stores = {LOCAL: Synthetic(LOCAL, entries), REMOTE: store}
    limited = {side: TimeLimited(each, seconds=300) for side, each in stores.items()}  # type: ignore[arg-type]
    made = await look(Job(TARGET, Policy(), limited, state, Ambient()))
    assert len(made.changes) == 3 * CHANGES, len(made.changes)


def main(mode: str, directory: str, entries: int, endpoint: str) -> None:
    match mode:
        case "fill":
            fill(State(Path(directory)), TARGET, entries, etag)
        case "scan":
            anyio.run(scan, bucket(endpoint, Ambient()), entries)
        case "plan":
            anyio.run(plan, State(Path(directory)), bucket(endpoint, Ambient()), entries)
        case _:
            raise SystemExit(__doc__)


main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
