"""How a dataset is compared: by digests that are known, else by those that are read once for each version.

A bucket tells the MD5 of what went there in one part; what that does not settle its metadata may, and only then are
objects read. A look that must not read (`Job.glance`) goes by size and time where no digest is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from trueup.core.audit import Method
from trueup.core.errors import StoreError
from trueup.core.model import (
    LOCAL,
    REMOTE,
    Entry,
    Fingerprint,
    Key,
    Record,
    Recorded,
    Shown,
    Side,
    Unknown,
)
from trueup.core.strategy import Conflict, newest
from trueup.core.table import Act, Table
from trueup.engine import digests
from trueup.engine.digests import Digests
from trueup.engine.job import Job, Progress, Sights
from trueup.stores.manifest import ManifestStore
from trueup.stores.manifest.text import LISTED
from trueup.targets import datasets
from trueup.targets.datasets import CONTENT, MANIFEST, Datasets, Evidence

_TIME_SECONDS = 0.001
"""Times of a record are written with less precision than a file system has."""


@dataclass(slots=True)
class Comparison:
    """`trueup.engine.job.Audit.closer` of a dataset."""

    spec: Datasets
    manifest: ManifestStore

    async def __call__(self, job: Job, sights: Sights) -> tuple[Sights, Method]:
        """Find out what the listings do not tell; nothing but the engine's own cache is written."""
        look = _Look(job, {side: dict(items) for side, items in sights.items()})
        await look.run()
        listed = await job.ambient.threads(lambda: self.manifest.shape) == LISTED
        return look.sights, self._method(job, look, listed=listed)

    def _method(self, job: Job, look: _Look, *, listed: bool) -> Method:
        tables = {
            conflict: datasets.table(conflict=conflict, delete_orphans=self.spec.delete_orphans)
            for conflict in Conflict
        }
        now_ns = job.ambient.clock.now_ns()

        def record(key: Key, seen: Mapping[Side, Shown], act: Act) -> Record:
            source = act.source or LOCAL
            return datasets.entry_of(self.spec, key, seen, source, look.told(key, source), listed=listed)

        def choose(key: Key, seen: Mapping[Side, Shown]) -> Table:
            conflict = job.resolve.get(key, self.spec.conflict)
            if conflict is Conflict.NEWEST_WINS:
                conflict = _newest(seen, now_ns)
            return tables[conflict]

        return Method(tables[self.spec.conflict], lambda side, _: side, record, choose, look.alike)


def _newest(seen: Mapping[Side, Shown], now_ns: int) -> Conflict:
    local, remote = seen.get(LOCAL), seen.get(REMOTE)
    if not isinstance(local, Entry) or not isinstance(remote, Entry):
        return Conflict.MANUAL
    winners = {LOCAL: Conflict.LOCAL_WINS, REMOTE: Conflict.REMOTE_WINS, None: Conflict.MANUAL}
    return winners[newest(local.modified_ns, remote.modified_ns, now_ns)]


@dataclass(slots=True)
class _Look:
    job: Job
    sights: dict[Side, dict[Key, Shown]]
    evidence: dict[Side, dict[Key, dict[str, str]]] = field(default_factory=dict)
    number: int | None = None

    async def run(self) -> None:
        self.number = await self.job.number()
        self.evidence[MANIFEST] = {
            key: dict(datasets.told_by_record(shown.record.fields))
            for key, shown in self.sights[MANIFEST].items()
            if isinstance(shown, Recorded)
        }
        for side in CONTENT:
            self.evidence[side] = {}
            self._tokens(side)
            if not self.job.verify:
                self._learn(side, await digests.cached(self.job, self.number, side, self._entries(side)))
        if self.job.verify:
            for side in CONTENT:
                await self._verify(side)
        elif self.job.glance:
            self._believe_tokens()
            for side in CONTENT:
                await self._guess(side)
        else:
            await self._read(LOCAL)
            await self._inspect_tokens()
            await self._read(REMOTE)
        self._print()

    def _entries(self, side: Side) -> dict[Key, Entry]:
        return {key: shown for key, shown in self.sights[side].items() if isinstance(shown, Entry)}

    def told(self, key: Key, side: Side) -> Evidence:
        """What is known about what a side holds."""
        return self.evidence[side].get(key, {})

    def alike(self, key: Key) -> Mapping[Side, Side]:
        """Which sides hold the same."""
        shown = ((side, self.sights[side].get(key)) for side in (*CONTENT, MANIFEST))
        return datasets.identities(
            {side: self.told(key, side) for side, one in shown if isinstance(one, Entry | Recorded)}
        )

    def _learn(self, side: Side, found: Mapping[Key, Digests | Unknown]) -> None:
        for key, one in found.items():
            if isinstance(one, Digests):
                self.evidence[side].setdefault(key, {}).update(md5=one.md5, blake3=one.blake3)
            else:
                self.sights[side][key] = one

    # -- versions that may be digests ----------------------------------------------------------------------------

    def _tokens(self, side: Side) -> None:
        if self.job.stores[side].properties.digests_as_tokens == "md5":
            for key, entry in self._entries(side).items():
                self.evidence[side][key] = {"etag": entry.token}

    def _settled(self, key: Key) -> bool:
        """Whether it is known how the remote's version stands to something else."""
        here = self.told(key, REMOTE)
        others = [self.told(key, side) for side in (LOCAL, MANIFEST) if self.told(key, side)]
        return any(datasets.same(here, one) for one in others) or (
            ("md5" in here or "blake3" in here) and all(datasets.same(here, one) is not None for one in others)
        )

    def _believe_tokens(self) -> bool:
        """Take versions of the form of an MD5 for one, unless what can be compared speaks against it."""
        if not self.job.stores[REMOTE].properties.tokens_name_content:
            return False
        likely = [key for key, one in self.evidence[REMOTE].items() if datasets.is_digest(one.get("etag", ""), 32)]
        others = {key: [one for side in (LOCAL, MANIFEST) if (one := self.told(key, side))] for key in likely}
        matches = [
            any(datasets.same(self.told(key, REMOTE), one) for one in ones) for key, ones in others.items() if ones
        ]
        if matches and not any(matches):
            return False
        for key in likely:
            self.evidence[REMOTE][key].setdefault("md5", self.evidence[REMOTE][key]["etag"])
        return True

    async def _inspect_tokens(self) -> None:
        """Ask for the metadata of objects whose versions settle nothing."""
        store = self.job.stores[REMOTE]
        self._believe_tokens()
        if store.properties.complete_rows:
            return
        wanted = [(key, entry) for key, entry in self._entries(REMOTE).items() if not self._settled(key)]
        done = 0

        async def one(wish: tuple[Key, Entry]) -> None:
            nonlocal done
            key, listed = wish
            try:
                entry = await store.stat(key)
            except StoreError as error:
                self.sights[REMOTE][key] = Unknown(str(error))
                return
            if entry is None or entry.token != listed.token:
                self.sights[REMOTE][key] = Unknown("it was changed while it was looked at")
                return
            self.sights[REMOTE][key] = entry
            printed = entry.content.fingerprint
            if printed is not None and printed.algorithm in ("blake3", "md5"):
                self.evidence[REMOTE].setdefault(key, {})[printed.algorithm] = printed.digest
            done += 1
            self.job.on_progress(Progress("look closer", REMOTE, done, len(wanted), current=key))

        await self.job.pace.spread(wanted, one)

    # -- reading -------------------------------------------------------------------------------------------------

    async def _read(self, side: Side) -> None:
        """Read what nothing is known about, but has to be."""
        wanted = {key: entry for key, entry in self._entries(side).items() if self._unread(side, key)}
        if wanted:
            self._learn(side, await digests.read(self.job, await self._numbered(), side, wanted, shelf=side))

    def _unread(self, side: Side, key: Key) -> bool:
        if side == LOCAL:
            return "md5" not in self.told(key, LOCAL)
        return not self._settled(key)

    async def _numbered(self) -> int:
        """The target's row in the state: digests are kept even if nothing is ever applied."""
        if self.number is None:
            self.number = await self.job.ambient.threads(self.job.state.remember_target, self.job.target)
        return self.number

    async def _verify(self, side: Side) -> None:
        """Read every byte. What a verification that was stopped has read since it began is not read again."""
        number, shelf = await self._numbered(), Side(f"verify {side}")
        entries = self._entries(side)
        found: dict[Key, Digests | Unknown] = dict(await digests.cached(self.job, number, shelf, entries))
        found |= await digests.read(
            self.job, number, side, {key: entry for key, entry in entries.items() if key not in found}, shelf=shelf
        )
        before = await digests.cached(self.job, number, side, entries)
        for key, one in found.items():
            told = self.told(key, side).get("etag", "")
            lies = isinstance(one, Digests) and before.get(key, one) != one
            if lies or (isinstance(one, Digests) and self._is_md5(told) and told != one.md5):
                found[key] = Unknown("damaged? its bytes have changed, and its version has not")
        self._learn(side, found)
        await self.job.ambient.threads(self.job.state.forget_digests, number, shelf)

    def _is_md5(self, token: str) -> bool:
        return datasets.is_digest(token, 32) and self.job.stores[REMOTE].properties.tokens_name_content

    # -- not reading ---------------------------------------------------------------------------------------------

    async def _guess(self, side: Side) -> None:
        """What is of the size and the time that are recorded is taken for what is recorded.

        Where no time is recorded, and another version was read before, it has changed since.
        """
        open_ = {
            key: entry for key, entry in self._entries(side).items() if not {"md5", "blake3"} & {*self.told(key, side)}
        }
        timed = self.job.stores[side].properties.complete_rows  # else its times are a service's
        changed = await self.job.ambient.threads(self.job.state.digested, self.number, side, list(open_))
        for key, entry in open_.items():
            recorded = self.sights[MANIFEST].get(key)
            if isinstance(recorded, Recorded):
                if self._matches(entry, recorded.record.fields, changed=key in changed, timed=timed):
                    self.evidence[side].setdefault(key, {}).update(self.told(key, MANIFEST))
            elif side == REMOTE and self._size(LOCAL, key) == entry.content.size:
                self.evidence[side].setdefault(key, {}).update(self.told(key, LOCAL))

    def _size(self, side: Side, key: Key) -> int | None:
        shown = self.sights[side].get(key)
        return shown.content.size if isinstance(shown, Entry) else None

    def _matches(self, entry: Entry, fields: Mapping[str, object], *, changed: bool, timed: bool) -> bool:
        if datasets.size_of(fields) not in (None, entry.content.size):
            return False
        time = datasets.modified_of(fields)
        if time is None or not timed:
            return not changed
        return abs(time - entry.modified_ns / 1e9) <= _TIME_SECONDS

    # -- promises ------------------------------------------------------------------------------------------------

    def _print(self) -> None:
        """Tell writers what the bytes must hash to, where that was read or is proved by bytes that were."""
        for side in CONTENT:
            for key, entry in self._entries(side).items():
                digest = self.told(key, side).get("blake3")
                if digest is None and side == REMOTE and datasets.same(self.told(key, LOCAL), self.told(key, REMOTE)):
                    digest = self.told(key, LOCAL).get("blake3")
                if digest is not None and entry.content.fingerprint is None and not self.job.glance:
                    printed = Fingerprint("blake3", digest)
                    self.sights[side][key] = replace(entry, content=replace(entry.content, fingerprint=printed))
