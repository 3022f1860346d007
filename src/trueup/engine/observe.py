"""Look at both sides and find out, key by key, what differs from what was agreed.

Listings stream in key order and memory holds differences only. Content is fingerprinted only where versions say that
it may have changed and sizes do not settle it; digests are cached by version.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from trueup.core.errors import NotFound, PreconditionFailed, StateDamaged, StoreError, TrueupError
from trueup.core.merge import Merge, Suspect, Tally
from trueup.core.model import (
    LOCAL,
    OPAQUE_KINDS,
    REMOTE,
    UNTRUSTED,
    Ancestor,
    Difference,
    Entry,
    Fingerprint,
    Key,
    Row,
    Side,
    Token,
    Unknown,
    entry_from_row,
    key_bytes,
    same_content,
)
from trueup.core.moves import wanted
from trueup.core.plan import Observed
from trueup.core.reconcile import LookCloser, Reason, other, reconcile
from trueup.core.table import Act, Rule, Verb
from trueup.core.tree import SIDES, Finding
from trueup.engine.agree import trusted
from trueup.engine.beside import (
    Bare,
    sibling_names,
    with_agreed,
    with_other_spellings,
    with_what_is_in_the_way,
)
from trueup.engine.groups import ungrouped
from trueup.engine.job import Job, Progress
from trueup.engine.recognise import recognised
from trueup.engine.spool import spooled
from trueup.engine.streams import Batch, Chunk, OutOfOrder, in_step
from trueup.protocols import Store

ANCESTOR = "ancestor"


@dataclass(slots=True)
class Observation:
    """What was found."""

    merge: Merge
    findings: list[Finding] = field(default_factory=list)
    lost: dict[Side, StoreError] = field(default_factory=dict)
    """Sides whose listing broke off."""
    hidden: dict[Side, int] = field(default_factory=lambda: {LOCAL: 0, REMOTE: 0})
    """Known items about which a broken listing says nothing."""
    damaged: list[Key] = field(default_factory=list)
    observed: dict[Side, Observed] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every listing came to its end."""
        return not self.lost


async def observe(job: Job) -> Observation:
    """Compare both sides with their ancestor.

    A listing that breaks off is a value, not an error: the observation says which side, and nothing that the side
    might have listed afterwards is taken for missing.

    Raises:
        StoreError: If a side cannot be looked at at all.
        StateDamaged: If the ancestors cannot be read.
    """
    unordered = {side for side in SIDES if not job.stores[side].properties.ordered}
    while True:
        try:
            with ungrouped(OutOfOrder, TrueupError):
                return await _Observer(job, await job.number(), frozenset(unordered)).run()
        except OutOfOrder as error:
            unordered.add(Side(str(error)))


class _Observer:
    def __init__(self, job: Job, number: int | None, unordered: frozenset[Side]) -> None:
        self.job = job
        self.number = number
        self.unordered = unordered
        self.started_ns = job.ambient.clock.now_ns()
        self.found = Observation(Merge(distrust=job.verify))
        self.opaque: list[Suspect] = []
        self.bare = Bare()

    async def run(self) -> Observation:
        found = self.found
        sources: dict[str, AsyncIterator[Batch]] = {side: self._listing(side) for side in SIDES}
        chunks = in_step({**sources, ANCESTOR: self._ancestors()}, believed=(ANCESTOR,))
        async with aclosing(chunks):  # type: ignore[type-var]  # it is a generator
            async for chunk in chunks:
                await self._take(chunk)
        # How much an opaque item hides is known only now.
        found.findings += await self._judge(self.opaque)
        found.findings.sort(key=lambda finding: key_bytes(finding.key))
        for side in found.lost:
            found.findings = [finding for finding in found.findings if not self._says_nothing(finding, side)]
        found.findings = await with_what_is_in_the_way(self.job, self.number, found.findings, self.bare)
        found.findings = await with_other_spellings(self.job, self.number, found.findings)
        await self._look_at_siblings()
        if found.complete:
            await self._follow_moves()
        for side in SIDES:
            found.observed[side] = await self._describe(side)
        return found

    async def _follow_moves(self) -> None:
        """Fingerprint new items that may be old ones under a new name."""
        wishes = wanted(self.found.findings, self.job.movable)
        if not wishes:
            return
        printed = await self._fingerprint(wishes, look=not self.job.verify)
        self.found.findings = [_with_prints(finding, printed) for finding in self.found.findings]

    async def _look_at_siblings(self) -> None:
        """Fingerprint what has the names of siblings: a run that was stopped may have made them, others edited them."""
        names = sibling_names(self.found.findings)
        if not names:
            return
        findings = await with_agreed(self.job, self.number, self.found.findings, names)
        wishes = [
            (side, finding.key, seen)
            for finding in findings
            for side in SIDES
            if finding.key in names
            and isinstance(seen := finding.seen(side), Entry)
            and seen.content.fingerprint is None
        ]
        printed = await self._fingerprint(wishes, look=not self.job.verify)
        self.found.findings = [_with_prints(finding, printed) for finding in findings]

    def _says_nothing(self, finding: Finding, side: Side) -> bool:
        """Absent from a listing that broke off: not known to be missing."""
        if finding.seen(side) is not None:
            return False
        self.found.hidden[side] += 1
        return True

    def _listing(self, side: Side) -> AsyncIterator[list[Row]]:
        listing = self.job.stores[side].scan()
        if not all(store.properties.directories for store in self.job.stores.values()):
            listing = self.bare.without_directories(listing)
        return spooled(listing, self.job.ambient.threads) if side in self.unordered else listing

    async def _ancestors(self) -> AsyncIterator[Batch]:
        batches = self.job.state.scan_ancestors(self.number)
        try:
            while batch := await self.job.ambient.threads(next, batches, None):
                yield batch
        finally:
            batches.close()

    async def _take(self, chunk: Chunk) -> None:
        found = self.found
        for name, error in chunk.lost.items():
            if name == ANCESTOR:
                raise StateDamaged("the ancestors could not be read", why=str(error)) from error
            found.lost.setdefault(Side(name), error)
        suspects = found.merge.feed(chunk.rows[LOCAL], chunk.rows[REMOTE], chunk.rows[ANCESTOR])
        for side in SIDES:
            self.job.on_progress(Progress("observe", side, found.merge.tallies[side].items))
        clear: list[Suspect] = []
        for suspect in suspects:
            (self.opaque if _is_opaque(suspect) else clear).append(suspect)
        if clear:
            found.findings += await self._judge(clear)

    # -- from suspects to findings -------------------------------------------------------------------------------

    async def _judge(self, suspects: Sequence[Suspect]) -> list[Finding]:
        differences = await self._inspect(await recognised(self.job, await self._enrich(suspects)))
        now_ns = self.job.ambient.clock.now_ns()
        findings: dict[Key, Finding] = {}
        while differences:
            closer: list[tuple[Difference, LookCloser]] = []
            for difference in differences:
                rule = reconcile(difference, self.job.policy_for(difference.key), now_ns=now_ns)
                if isinstance(rule, LookCloser):
                    closer.append((difference, rule))
                elif (finding := self._finding(difference, rule)) is not None:
                    findings[difference.key] = finding
            differences = await self._look_closer(closer)
        return [findings[suspect[0]] for suspect in suspects if suspect[0] in findings]

    def _finding(self, difference: Difference, rule: Rule) -> Finding | None:
        """The finding, or None if there is nothing to say or to remember."""
        if rule.reason != Reason.AGREE:
            return Finding(difference, rule)
        ancestor = difference.ancestor
        tokens = tuple(self.trusted(side, difference.side(side)) for side in SIDES)
        if ancestor is None or tokens == (ancestor.local, ancestor.remote) or UNTRUSTED in tokens:
            self.found.merge.agreed += 1
            return None
        return Finding(difference, Rule(Reason.AGREE, (Act(Verb.ADOPT, LOCAL),)))

    def trusted(self, side: Side, seen: Entry | Unknown | None) -> Token:
        """The token worth remembering for what was seen."""
        if not isinstance(seen, Entry):
            return UNTRUSTED
        return trusted(self.job, side, seen.token, modified_ns=seen.modified_ns, observed_ns=self.started_ns)

    async def _enrich(self, suspects: Sequence[Suspect]) -> list[Difference]:
        """Add what is remembered: the ancestors' content, and cached digests of what is there."""
        keys = [suspect[0] for suspect in suspects if suspect[3] is not None]
        ancestors, damaged = await self.job.ambient.threads(self.job.state.ancestors, self.number, keys)
        self.found.damaged += damaged
        rows: dict[Side, dict[Key, Row]] = {
            LOCAL: {key: row for key, row, _, _ in suspects if row is not None},
            REMOTE: {key: row for key, _, row, _ in suspects if row is not None},
        }
        cached: dict[Side, Mapping[Key, Fingerprint]] = {LOCAL: {}, REMOTE: {}}
        if not self.job.verify:
            for side in SIDES:
                tokens = {key: row[1] for key, row in rows[side].items() if not row[6]}
                cached[side] = await self.job.ambient.threads(self.job.state.digests, self.number, side, tokens)

        def seen(side: Side, key: Key) -> Entry | Unknown | None:
            row = rows[side].get(key)
            if row is None:
                return None
            if row[2] in OPAQUE_KINDS:
                shadow = self.found.merge.shadows[side][key_bytes(key).rstrip(b"/")]
                return Unknown(row[6], row[2], shadow.hidden)
            return self._printed(entry_from_row(row), side, ancestors.get(key), cached[side].get(key))

        differences = [
            Difference(key, seen(LOCAL, key), seen(REMOTE, key), ancestors.get(key)) for key, _, _, _ in suspects
        ]
        # Another run may have forgotten the agreement since it was listed, or its row is damaged: then nothing is left.
        return [one for one in differences if one.local or one.remote or one.ancestor]

    def _printed(self, entry: Entry, side: Side, ancestor: Ancestor | None, cached: Fingerprint | None) -> Entry:
        """The entry with the fingerprint that is known for exactly this version."""
        known = cached
        if ancestor is not None and not self.job.verify:
            agreed = ancestor.local if side == LOCAL else ancestor.remote
            known = ancestor.content.fingerprint if entry.token == agreed else cached
        if known is None or entry.content.fingerprint is not None:
            return entry
        return replace(entry, content=replace(entry.content, fingerprint=known))

    async def _inspect(self, differences: list[Difference]) -> list[Difference]:
        """Ask for what the rows of some stores do not tell: time, mode, and the fingerprint where that is free.

        Not of what is new on one side only: its writer asks. A listing of new items must not cost a request for each.
        """
        sides = [side for side in SIDES if not self.job.stores[side].properties.complete_rows]
        wanted = [
            (side, difference.key, entry)
            for difference in differences
            for side in sides
            if (entry := _news(difference, side)) is not None
        ]
        told: dict[tuple[Side, Key], Entry | Unknown] = {}

        async def one(wish: tuple[Side, Key, Entry]) -> None:
            side, key, entry = wish
            told[side, key] = await _told(self.job.stores[side], key, entry, verify=self.job.verify)
            self.job.on_progress(Progress("look closer", side, len(told), len(wanted), current=key))

        await self.job.pace.spread(wanted, one)
        return [
            replace(
                difference,
                local=told.get((LOCAL, difference.key), difference.local),
                remote=told.get((REMOTE, difference.key), difference.remote),
            )
            for difference in differences
        ]

    # -- fingerprints --------------------------------------------------------------------------------------------

    async def _look_closer(self, closer: Sequence[tuple[Difference, LookCloser]]) -> list[Difference]:
        wanted = [
            (side, difference.key, entry)
            for difference, look in closer
            for side in look.sides
            if isinstance(entry := difference.side(side), Entry)
        ]
        printed = await self._fingerprint(wanted)
        return [
            replace(
                difference,
                local=printed.get((LOCAL, difference.key), difference.local),
                remote=printed.get((REMOTE, difference.key), difference.remote),
            )
            for difference, _ in closer
        ]

    async def _fingerprint(
        self, wanted: Sequence[tuple[Side, Key, Entry]], *, look: bool = False
    ) -> dict[tuple[Side, Key], Entry | Unknown]:
        """Read and hash versions; with `look` only those of which their side cannot tell the digest."""
        printed: dict[tuple[Side, Key], Entry | Unknown] = {}
        fresh: dict[Side, list[tuple[Key, Token, Fingerprint]]] = {LOCAL: [], REMOTE: []}
        total = sum(entry.content.size for _, _, entry in wanted)
        done = 0

        async def one(wish: tuple[Side, Key, Entry]) -> None:
            nonlocal done
            side, key, entry = wish
            result = await _fingerprinted(self.job.stores[side], key, entry, look=look)
            printed[side, key] = result
            done += entry.content.size
            self.job.on_progress(
                Progress("look closer", side, len(printed), len(wanted), bytes=done, total_bytes=total, current=key)
            )
            if isinstance(result, Entry) and result.content.fingerprint and self.trusted(side, entry):
                fresh[side].append((key, entry.token, result.content.fingerprint))

        await self.job.pace.spread(wanted, one)
        if self.number is not None:
            for side, digests in fresh.items():
                await self.job.ambient.threads(self.job.state.cache_digests, self.number, side, digests)
        return printed

    async def _describe(self, side: Side) -> Observed:
        store, found = self.job.stores[side], self.found
        tally: Tally = found.merge.tallies[side]
        error = found.lost.get(side)
        markers = await self.job.markers()
        return Observed(
            location=store.properties.location,
            complete=error is None,
            why=str(error) if error else "",
            items=tally.items,
            unchanged=tally.unchanged,
            hidden=found.hidden[side],
            marker=await store.marker(),
            expected_marker=markers.get(side),
            free_bytes=await store.free_bytes(),
            notices=store.properties.notices,
        )


def _news(difference: Difference, side: Side) -> Entry | None:
    """What the side holds, unless that is the version that was agreed on, or nobody ever had another."""
    seen, ancestor = difference.side(side), difference.ancestor
    if not isinstance(seen, Entry) or (ancestor is None and difference.side(other(side)) is None):
        return None
    if seen.content.fingerprint is not None and _is_same(difference):
        return None
    agreed = None if ancestor is None else ancestor.local if side == LOCAL else ancestor.remote
    return None if seen.token == agreed else seen


def _is_same(difference: Difference) -> bool:
    local, remote = difference.local, difference.remote
    return (
        isinstance(local, Entry) and isinstance(remote, Entry) and same_content(local.content, remote.content) is True
    )


async def _told(store: Store, key: Key, listed: Entry, *, verify: bool) -> Entry | Unknown:
    """What the store tells about one item; without its fingerprint if bytes are to be read whatever is told."""
    try:
        entry = await store.stat(key)
    except StoreError as error:
        return Unknown(str(error))
    if entry is None:
        return Unknown("it is listed, but not there")
    known = entry.content.fingerprint or (listed.content.fingerprint if listed.token == entry.token else None)
    return replace(entry, content=replace(entry.content, fingerprint=None if verify else known))


def _is_opaque(suspect: Suspect) -> bool:
    return any(row is not None and row[2] in OPAQUE_KINDS for row in suspect[1:3])


def _with_prints(finding: Finding, printed: Mapping[tuple[Side, Key], Entry | Unknown]) -> Finding:
    """The finding with what was found out about its content; what could not be read stays as it was seen."""
    local, remote = (printed.get((side, finding.key)) for side in SIDES)
    difference = replace(
        finding.difference,
        local=local if isinstance(local, Entry) else finding.difference.local,
        remote=remote if isinstance(remote, Entry) else finding.difference.remote,
    )
    return replace(finding, difference=difference)


async def _fingerprinted(store: Store, key: Key, entry: Entry, *, look: bool) -> Entry | Unknown:
    """The entry with its fingerprint; unknown if it cannot be read or changed meanwhile."""
    try:
        if look and not store.properties.complete_rows:
            told = await store.stat(key)
            if told is not None and told.token == entry.token and told.content.fingerprint is not None:
                return told
        fingerprint = await store.fingerprint(key, entry.token)
    except (PreconditionFailed, NotFound):
        return Unknown("it was changed while it was read")
    except StoreError as error:
        return Unknown(str(error))
    return replace(entry, content=replace(entry.content, fingerprint=fingerprint))
