"""Digests of content that is compared with a record: read once for each version, MD5 and BLAKE3 in one go."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from blake3 import blake3

from trueup.core.errors import StoreError
from trueup.core.model import Entry, Fingerprint, Key, Side, Unknown
from trueup.engine.agree import trusted
from trueup.engine.job import Job, Progress
from trueup.protocols import Source

ALGORITHM = "md5+blake3"
"""How both digests stand together in the cache of the state."""
_MD5_DIGITS = 32
ITEMS_TOGETHER = 64
BYTES_TOGETHER = 16 * 1024 * 1024
"""So many items, or so many bytes, are read by one crossing into a thread."""


@dataclass(frozen=True, slots=True)
class Digests:
    """What some content hashes to, in hexadecimal."""

    md5: str
    blake3: str


async def cached(job: Job, number: int | None, shelf: Side, entries: Mapping[Key, Entry]) -> dict[Key, Digests]:
    """Digests of exactly these versions, as far as they were read before."""
    tokens = {key: entry.token for key, entry in entries.items()}
    found = await job.ambient.threads(job.state.digests, number, shelf, tokens)
    return {
        key: Digests(one.digest[:_MD5_DIGITS], one.digest[_MD5_DIGITS:])
        for key, one in found.items()
        if one.algorithm == ALGORITHM
    }


async def read(
    job: Job, number: int, side: Side, entries: Mapping[Key, Entry], *, shelf: Side
) -> dict[Key, Digests | Unknown]:
    """Read versions, several at once, and remember their digests.

    Args:
        job: The sides, and how many items may be under way.
        number: The target's row in the state.
        side: Who holds them.
        entries: The versions.
        shelf: Where in the cache they are remembered; what is done is kept if the rest is never done.

    Returns:
        The digests of each, or why it could not be read.
    """
    store, clock = job.stores[side], job.ambient.clock
    found: dict[Key, Digests | Unknown] = {}
    total = sum(entry.content.size for entry in entries.values())
    done = 0

    async def one(unit: Sequence[tuple[Key, Entry]]) -> None:
        nonlocal done
        began_ns = clock.now_ns()
        answers = await job.ambient.threads(_hashed, [store.source(key, entry) for key, entry in unit])
        fresh = []
        for (key, entry), answer in zip(unit, answers, strict=True):
            found[key] = answer
            done += entry.content.size
            token = trusted(job, side, entry.token, modified_ns=entry.modified_ns, observed_ns=began_ns)
            if token and isinstance(answer, Digests):
                fresh.append((key, token, Fingerprint(ALGORITHM, answer.md5 + answer.blake3)))
        await job.ambient.threads(job.state.cache_digests, number, shelf, fresh)
        job.on_progress(
            Progress("look closer", side, len(found), len(entries), bytes=done, total_bytes=total, current=unit[-1][0])
        )

    await job.pace.spread(_units(entries), one)
    return found


def _units(entries: Mapping[Key, Entry]) -> Iterator[list[tuple[Key, Entry]]]:
    unit: list[tuple[Key, Entry]] = []
    size = 0
    for key, entry in entries.items():
        if unit and (len(unit) >= ITEMS_TOGETHER or size + entry.content.size > BYTES_TOGETHER):
            yield unit
            unit, size = [], 0
        unit.append((key, entry))
        size += entry.content.size
    if unit:
        yield unit


def _hashed(sources: Sequence[Source]) -> list[Digests | Unknown]:
    found: list[Digests | Unknown] = []
    for source in sources:
        told, ours = hashlib.md5(usedforsecurity=False), blake3()
        try:
            with source.open() as chunks:
                for chunk in chunks:
                    told.update(chunk)
                    ours.update(chunk)
        except StoreError as error:
            found.append(Unknown(str(error)))
        else:
            found.append(Digests(told.hexdigest(), ours.hexdigest()))
    return found
