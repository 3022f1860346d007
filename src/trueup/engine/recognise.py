"""Find out that both sides hold the same without asking a service: its version may be the digest of the bytes.

A version that equals the digest of what the other side holds proves that both are the same. One that does not proves
nothing: objects that went in parts, or are encrypted by a key service, bear other versions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from blake3 import blake3

from trueup.core.errors import StoreError
from trueup.core.model import Difference, Entry, Fingerprint, Key, Kind, Side
from trueup.core.reconcile import other
from trueup.core.tree import SIDES
from trueup.engine.job import Job, Progress
from trueup.protocols import Source

MOST_TOGETHER = 64
BYTES_TOGETHER = 16 * 1024 * 1024
"""So many files, or so many bytes, are read by one crossing into a thread."""


async def recognised(job: Job, differences: list[Difference]) -> list[Difference]:
    """The differences, with the fingerprints of what is the same on both sides."""
    found: dict[Key, Fingerprint] = {}
    for side in SIDES:
        properties, reader = job.stores[side].properties, job.stores[other(side)]
        if properties.digests_as_tokens and not job.verify and not reader.properties.digests_as_tokens:
            length = 2 * hashlib.new(properties.digests_as_tokens).digest_size
            wanted = [(one.key, *pair) for one in differences if (pair := _alike(one, side, length))]
            found |= await _compared(job, side, wanted, properties.digests_as_tokens)
    return [_printed(one, found[one.key]) if one.key in found else one for one in differences]


def _alike(difference: Difference, side: Side, length: int) -> tuple[Entry, Entry] | None:
    """What the side holds, and what the other does, if the one's version may be the digest of the other's bytes."""
    theirs, mine = difference.side(side), difference.side(other(side))
    if not isinstance(theirs, Entry) or not isinstance(mine, Entry) or len(theirs.token) != length:
        return None
    if theirs.content.kind is not Kind.FILE or mine.content.kind is not Kind.FILE:
        return None
    known = theirs.content.fingerprint is not None and mine.content.fingerprint is not None
    return None if known or theirs.content.size != mine.content.size else (theirs, mine)


async def _compared(
    job: Job, side: Side, wanted: Sequence[tuple[Key, Entry, Entry]], algorithm: str
) -> Mapping[Key, Fingerprint]:
    reader = job.stores[other(side)]
    found: dict[Key, Fingerprint] = {}
    done = 0

    async def compare(some: Sequence[tuple[Key, Entry, Entry]]) -> None:
        nonlocal done
        sources = [reader.source(key, mine) for key, _, mine in some]
        for (key, theirs, _), digests in zip(
            some, await job.ambient.threads(_digests, sources, algorithm), strict=True
        ):
            if digests is not None and digests[0] == theirs.token:
                found[key] = digests[1]
        done += len(some)
        job.on_progress(Progress("look closer", other(side), done, len(wanted), current=some[-1][0]))

    await job.pace.spread(_together(wanted), compare)
    return found


def _together(wanted: Sequence[tuple[Key, Entry, Entry]]) -> Iterator[list[tuple[Key, Entry, Entry]]]:
    unit: list[tuple[Key, Entry, Entry]] = []
    size = 0
    for one in wanted:
        if unit and (len(unit) >= MOST_TOGETHER or size + one[2].content.size > BYTES_TOGETHER):
            yield unit
            unit, size = [], 0
        unit.append(one)
        size += one[2].content.size
    if unit:
        yield unit


def _digests(sources: Sequence[Source], algorithm: str) -> list[tuple[str, Fingerprint] | None]:
    """The digests of each; None of what cannot be read, or was changed meanwhile: others say so later."""
    found: list[tuple[str, Fingerprint] | None] = []
    for source in sources:
        told, ours = hashlib.new(algorithm, usedforsecurity=False), blake3()
        try:
            with source.open() as chunks:
                for chunk in chunks:
                    told.update(chunk)
                    ours.update(chunk)
        except StoreError:
            found.append(None)
        else:
            found.append((told.hexdigest(), Fingerprint("blake3", ours.hexdigest())))
    return found


def _printed(difference: Difference, fingerprint: Fingerprint) -> Difference:
    sides = {}
    for side in SIDES:
        entry = difference.side(side)
        assert isinstance(entry, Entry)  # noqa: S101  # `_alike` has seen to it
        sides[str(side)] = replace(entry, content=replace(entry.content, fingerprint=fingerprint))
    return replace(difference, local=sides["local"], remote=sides["remote"])
