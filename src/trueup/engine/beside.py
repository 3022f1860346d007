"""What is as agreed, and decides about a difference all the same, because both would need one name.

Differences are all that an observation keeps; this finds the few agreed items that stand beside one, by the ancestors'
keys. It costs a look for each new item of a bucket, and for each sibling; nothing for all others.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass, field, replace

from trueup.core.model import (
    DIRECTORY_TOKEN,
    Ancestor,
    Content,
    Difference,
    Entry,
    Key,
    Kind,
    Row,
    key_bytes,
    key_from_bytes,
    parents,
    range_below,
)
from trueup.core.reconcile import Reason, other
from trueup.core.table import Rule
from trueup.core.tree import SIDES, Finding, Names
from trueup.engine.job import Job


@dataclass(slots=True)
class Bare:
    """Directories that are not compared and in which nothing is listed, or something is filtered."""

    found: list[tuple[bytes, int]] = field(default_factory=list)
    """Their keys, and how many filtered items are in them."""

    async def without_directories(self, listing: AsyncIterator[list[Row]]) -> AsyncIterator[list[Row]]:
        """The listing for a job of which one side has no directories: there is nothing to agree on about the other's.

        In key order what a directory holds comes right after it. In another order more may be noted as bare; those are
        told by what is found below them.
        """
        last: Row | None = None
        async with aclosing(listing):  # type: ignore[type-var]  # it is a generator
            async for batch in listing:
                directories = [n for n, row in enumerate(batch) if row[2] is Kind.DIRECTORY]
                if last is not None and batch:
                    self._note(last, batch[0])
                    last = None
                for n in directories:
                    if n + 1 < len(batch):
                        self._note(batch[n], batch[n + 1])
                    else:
                        last = batch[n]
                yield [row for row in batch if row[2] is not Kind.DIRECTORY] if directories else batch
        if last is not None:
            self.found.append((last[0], last[3]))

    def _note(self, directory: Row, following: Row) -> None:
        if directory[3] or not following[0].startswith(directory[0]):
            self.found.append((directory[0], directory[3]))

    def beneath(self, findings: Sequence[Finding]) -> list[Finding]:
        """The findings, with the directories of their names in which, or below which, there is a bare one."""
        self.found.sort()
        return [replace(finding, beneath=self._of(finding.key)) for finding in findings] if self.found else [*findings]

    def _of(self, file: Key) -> Entry | None:
        first, last = (bisect_left(self.found, (raw,)) for raw in range_below(file))
        if first == last:
            return None
        filtered = sum(count for _, count in self.found[first:last])
        return Entry(DIRECTORY_TOKEN, Content(Kind.DIRECTORY, filtered))


async def with_what_is_in_the_way(
    job: Job, number: int | None, findings: Sequence[Finding], bare: Bare
) -> list[Finding]:
    """Add what a folder cannot hold beside a new object: a bucket can hold `x` and `x/y`, and knows no directories.

    Args:
        job: Of a folder and a bucket; for others there is nothing to add.
        number: The target's row in the state.
        findings: In key order, one per key.
        bare: Directories of the folder.
    """
    folders = [side for side in SIDES if job.stores[side].properties.directories]
    if len(folders) != 1:
        return [*findings]
    folder, bucket = folders[0], other(folders[0])
    new = [f.key for f in findings if f.seen(folder) is None and isinstance(f.seen(bucket), Entry)]
    known = {finding.key for finding in findings}
    above = {Key(directory[:-1]) for key in new for directory in parents(key)}
    below = await job.ambient.threads(job.state.first_below, number, new, known)
    return await with_agreed(job, number, bare.beneath(findings), {*above, *below})


async def with_other_spellings(job: Job, number: int | None, findings: Sequence[Finding]) -> list[Finding]:
    """Add what is agreed under another spelling of a new name, on a side that takes both for one name.

    Costs a look at every agreed key, where there is such a side and something new for it.
    """
    added: set[Key] = set()
    for side in SIDES:
        names = job.stores[side].properties.names
        if not names.folds:
            continue
        new = [finding.key for finding in findings if finding.seen(side) is None and finding.seen(other(side))]
        if new:
            added |= await job.ambient.threads(_spelled_alike, job, number, names, new)
    return await with_agreed(job, number, findings, added)


def _spelled_alike(job: Job, number: int | None, names: Names, new: Sequence[Key]) -> set[Key]:
    """Agreed keys that, or directories of which, fold to the same as a new key or one of its directories. Blocks."""
    wanted = {folded for key in new for folded in _folded(names, key)}
    with closing(job.state.scan_ancestors(number)) as batches:
        keys = (key_from_bytes(row[0]) for batch in batches for row in batch)
        return {key for key in keys if not wanted.isdisjoint(_folded(names, key))}


def _folded(names: Names, key: Key) -> list[str]:
    """The key and the directories above it, folded, without slashes at their ends."""
    return [names.folded(path).rstrip("/") for path in (*parents(key), key)]


def sibling_names(findings: Sequence[Finding]) -> set[Key]:
    """The names that siblings of these findings may get."""
    return {name for finding in findings if finding.rule.reason == Reason.KEEP_BOTH for _, name in finding.siblings()}


async def with_agreed(job: Job, number: int | None, findings: Sequence[Finding], names: set[Key]) -> list[Finding]:
    """The findings, and what is as agreed under these names, in key order."""
    wanted = sorted(names - {finding.key for finding in findings}) if names else []
    agreed, _ = await job.ambient.threads(job.state.ancestors, number, wanted)
    added = [_agreed(key, ancestor) for key, ancestor in agreed.items()]
    return sorted([*findings, *added], key=lambda finding: key_bytes(finding.key)) if added else [*findings]


def _agreed(key: Key, ancestor: Ancestor) -> Finding:
    """What both sides hold as it was agreed."""
    local, remote = Entry(ancestor.local, ancestor.content), Entry(ancestor.remote, ancestor.content)
    return Finding(Difference(key, local, remote, ancestor), Rule(Reason.AGREE))
