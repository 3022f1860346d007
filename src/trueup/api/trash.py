"""The trash of a target: what runs replaced and deleted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from trueup.core.errors import Locked, NotFound, PreconditionFailed, StoreError
from trueup.core.model import UNTRUSTED, Content, Entry, Kind, Side
from trueup.core.report import Report
from trueup.core.table import Verb
from trueup.engine.job import Job
from trueup.engine.run import held, writing
from trueup.protocols import Discarded, Source


@dataclass(frozen=True, slots=True)
class TrashItem:
    """One version in the trash of a target's side."""

    side: Side
    item: Discarded


@dataclass(frozen=True, slots=True)
class Pruned:
    """What `Engine.prune` destroyed, or would."""

    removed: int
    bytes: int
    refused: tuple[tuple[str, str], ...] = ()
    """Handles that stay, each with the reason."""


@dataclass(frozen=True, slots=True)
class Prunable:
    """Which kept versions are to be destroyed: all conditions that are given must hold."""

    older_than_seconds: float | None = None
    run: str | None = None
    last_copies: bool = False
    """Whether versions may go although no side holds anything under their name any more."""
    dated: bool = False
    """Whether only versions may go of which the store knows since when they are there."""

    def covers(self, item: Discarded, now_ns: int) -> bool:
        """Whether the version is meant, last copy or not."""
        if self.run is not None and item.run != self.run:
            return False
        if self.dated and not item.discarded_ns:
            return False
        age_ns = now_ns - item.discarded_ns
        return self.older_than_seconds is None or age_ns >= self.older_than_seconds * 1e9


async def list_trash(job: Job) -> list[TrashItem]:
    """Everything in the trash of both sides."""
    return [TrashItem(side, item) for side in job.stores for item in await job.stores[side].kept()]


async def restore(job: Job, side: Side, handle: str, to: Path | None) -> None:
    """Bring a kept version back, as `trueup.api.Engine.restore`."""
    store = job.stores[side]
    item = next((item for item in await store.kept() if item.handle == handle), None)
    if item is None:
        raise NotFound(f"the trash of {side} holds no {handle}", attempt="trueup trash ls")
    entry = Entry(UNTRUSTED, Content(Kind.FILE, item.size), item.modified_ns, item.mode)
    source = store.kept_source(handle, entry)
    if to is not None:
        await job.ambient.threads(_write_out, to, source)
        return
    async with held(job), writing(job):
        await store.write(item.key, source, expect=None, trash=None)
        await store.flush()


async def prune(job: Job, which: Prunable, *, dry_run: bool) -> Pruned:
    """Destroy kept versions, as `trueup.api.Engine.prune`."""
    now_ns = job.ambient.clock.now_ns()
    removed = size = 0
    refused = []
    for kept in await list_trash(job):
        if not which.covers(kept.item, now_ns):
            continue
        if not which.last_copies and await _is_last_copy(job, kept):
            refused.append((kept.item.handle, "it is the only copy: no side holds anything under that name"))
            continue
        removed, size = removed + 1, size + kept.item.size
        if not dry_run:
            await job.stores[kept.side].prune(kept.item.handle)
    return Pruned(removed, size, tuple(refused))


async def tidied(report: Report, job: Job) -> Report:
    """The report of a run after which the trash is as old as it may be; nobody is kept waiting for it."""
    if job.retention_seconds is None or report.run is None:
        return report
    which = Prunable(job.retention_seconds, dated=True)
    try:
        async with held(job):
            pruned = await prune(job, which, dry_run=False)
    except (StoreError, Locked) as error:
        return replace(report, notes=(*report.notes, f"the trash was not tidied, the next run will try: {error}"))
    if not pruned.removed:
        return report
    days = f"{job.retention_seconds / 86_400:g} days"
    versions = f"{pruned.removed:,} version{'s'[: pruned.removed != 1]}"
    return replace(report, notes=(*report.notes, f"{versions} older than {days} left the trash"))


async def _is_last_copy(job: Job, kept: TrashItem) -> bool:
    """Whether no side holds anything under the name any more. A record of some content is no copy of it."""
    sides = list(job.stores)
    if _holds_content(job, kept.side):
        sides = [side for side in sides if _holds_content(job, side)]
    return all([await job.stores[side].stat(kept.item.key) is None for side in sides])


def _holds_content(job: Job, side: Side) -> bool:
    return Verb.PUT in job.stores[side].properties.verbs


def _write_out(path: Path, source: Source) -> None:
    try:
        with source.open() as chunks, path.open("xb") as file:
            for chunk in chunks:
                file.write(chunk)
    except FileExistsError as error:
        raise PreconditionFailed(f"{path} is there already", attempt="choose another name") from error
    except OSError as error:
        raise StoreError(f"{path} cannot be written", why=error.strerror or "") from error
