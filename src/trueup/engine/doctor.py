"""Find out what could keep runs from working, before they do; each finding with its remedy."""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from trueup.core.errors import TrueupError
from trueup.core.model import Side
from trueup.engine.ambient import Ambient
from trueup.engine.job import Job
from trueup.engine.state import State
from trueup.protocols import Properties, Store
from trueup.stores.joined import places

LOW_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that was examined."""

    check: str
    ok: bool
    detail: str = ""
    fix: str = ""
    """What to do; empty when all is well."""


async def examine(
    directory: Path,
    opened: Callable[[], Awaitable[State]],
    jobs: Iterable[tuple[str, Callable[[], Awaitable[Job]]]],
    ambient: Ambient,
) -> list[Diagnosis]:
    """Examine the state and each target. Writes nothing on any side."""
    found = [await _state(directory, opened, ambient)]
    for name, make in jobs:
        try:
            job = await make()
        except TrueupError as error:
            found.append(Diagnosis(name, ok=False, detail=str(error), fix=error.attempt))
            continue
        for side in job.stores:
            found += await _side(name, job, side)
        found += [await _need(f"{name} {what}", ask, job.ambient) for what, ask in job.needs.items()]
    return found


async def _need(what: str, ask: Callable[[], str], ambient: Ambient) -> Diagnosis:
    try:
        return Diagnosis(what, ok=True, detail=await ambient.threads(ask))
    except TrueupError as error:
        return Diagnosis(what, ok=False, detail=str(error), fix=error.attempt)


async def _state(directory: Path, opened: Callable[[], Awaitable[State]], ambient: Ambient) -> Diagnosis:
    try:
        state = await opened()
        answer = await ambient.threads(state.check)
        free = (await ambient.threads(shutil.disk_usage, directory)).free
    except TrueupError as error:
        return Diagnosis("state", ok=False, detail=str(error), fix=error.attempt)
    if answer != "ok":
        return Diagnosis("state", ok=False, detail=answer, fix="sync with --allow corrupt-state")
    if free < LOW_BYTES:
        return Diagnosis("state", ok=False, detail=f"{free} bytes free in {directory}", fix="free some space")
    return Diagnosis("state", ok=True, detail=str(directory))


async def _side(name: str, job: Job, side: Side) -> list[Diagnosis]:
    store = job.stores[side]
    what = f"{name} {side}"
    try:
        free = await store.free_bytes()
        marker = await store.marker()
        await _listed(store)
    except TrueupError as error:
        return [Diagnosis(what, ok=False, detail=str(error), fix=error.attempt)]
    found = [Diagnosis(what, ok=True, detail=store.properties.location)]
    expected = (await job.markers()).get(side)
    if expected is not None and marker != expected:
        fix = "mount what belongs there; if it moved on purpose: sync with --allow other-root"
        found.append(Diagnosis(f"{what} identity", ok=False, detail="another root than last time", fix=fix))
    if free is not None and free < LOW_BYTES:
        found.append(Diagnosis(f"{what} room", ok=False, detail=f"{free} bytes free", fix="free some space"))
    if job.writes(side):
        found += await _writing(what, store.properties.location, job.ambient)
    return found + [Diagnosis(f"{what} promises", ok=True, detail=promise) for promise in _promises(store.properties)]


async def _listed(store: Store) -> None:
    """Whoever may look at one item may not always list them."""
    async with aclosing(store.scan()) as rows:  # type: ignore[type-var]  # it is a generator
        async for _ in rows:
            return


async def _writing(what: str, location: str, ambient: Ambient) -> list[Diagnosis]:
    location = location.partition("#")[0]  # behind it: a part of a file
    if not all(path.startswith("/") for path in places(location)):
        detail = "not tried, because that would write: the first run that writes finds out"
        return [Diagnosis(f"{what} writable", ok=True, detail=detail)]
    if await ambient.threads(_writable, location):
        return []
    fix = f"give yourself write permission: chmod u+w {' '.join(places(location))}"
    return [Diagnosis(f"{what} writable", ok=False, detail="no permission to write", fix=fix)]


def _promises(properties: Properties) -> list[str]:
    promises = ["a write that comes late is refused"] if properties.refuses_lost_races else []
    promises += properties.notices
    return [*promises, properties.about_moves] if properties.about_moves else promises


def _writable(location: str) -> bool:
    return all(_writable_place(Path(path)) for path in places(location))


def _writable_place(path: Path) -> bool:
    """A folder; or a file, and the folder that it is or will be in."""
    if path.is_dir():
        return os.access(path, os.W_OK | os.X_OK)
    folder = next(above for above in path.parents if above.is_dir())  # the others come with the first write
    return (not path.exists() or os.access(path, os.W_OK)) and os.access(folder, os.W_OK | os.X_OK)
