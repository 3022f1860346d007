"""Open caches, and carry out what is asked of them: refresh, invalidate, warm, clear."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from urllib.parse import unquote

from trueup.core.audit import Judged
from trueup.core.errors import StoreError, UsageError
from trueup.core.model import Key, Record, Shown, Side
from trueup.core.plan import Plan, Step
from trueup.core.report import Report
from trueup.core.strategy import Policy
from trueup.core.table import Act, Rule, Verb
from trueup.engine.act import act
from trueup.engine.ambient import Ambient
from trueup.engine.job import Audit, Job
from trueup.engine.run import Confirm
from trueup.engine.state import State
from trueup.protocols import Opening
from trueup.stores.cache import SAMPLES, CacheStore, Coordinates, Removed, Stats
from trueup.stores.cache.names import raw, text
from trueup.stores.cache.templates import Template, Templates, fetch
from trueup.targets import caches
from trueup.targets.caches import CACHE, Caches

RESPONSES = "responses"
"""The namespace that is warmed by asking for pages; all others are warmed by compiling templates."""
GATHERED = "gather"
"""Filled by the application when it starts; nobody else can."""


class Operation(StrEnum):
    """What is done with namespaces."""

    REFRESH = "refresh"
    """What has changed is invalidated, then warmed."""
    INVALIDATE = "invalidate"
    WARM = "warm"
    CLEAR = "clear"
    """Like invalidate, and nothing is warmed."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    operation: Operation = Operation.REFRESH
    namespaces: tuple[str, ...] = ()
    """Empty: all of the target, or none where keys are named."""
    keys: tuple[str, ...] = ()
    warm: bool = True
    """Whether templates are compiled after an invalidation."""

    def check(self) -> None:
        """Refuse what makes no sense.

        Raises:
            UsageError: If keys are named for an operation that has no use for them.
        """
        if self.keys and self.operation not in (Operation.INVALIDATE, Operation.REFRESH):
            raise UsageError(f"{self.operation.value} is for namespaces", attempt="invalidate, for single keys")


@dataclass(slots=True)
class CacheReport:
    """What became of a request. It is filled while the run goes on, so that it is true however that ends."""

    report: Report | None = None
    planned: dict[str, list[str]] = field(default_factory=dict)
    """The keys that were to be deleted, by namespace."""
    to_warm: dict[str, list[str]] = field(default_factory=dict)
    """Templates and pages that were to be warmed, by namespace."""
    removed: dict[str, Removed] = field(default_factory=dict)
    """What was deleted, by namespace."""
    warmed: list[str] = field(default_factory=list)
    """Keys of bytecode, or URLs."""
    failed: list[StoreError] = field(default_factory=list)
    """Namespaces that could not be emptied, templates and pages that could not be warmed."""
    notes: list[str] = field(default_factory=list)
    """What was not done, and why."""

    @property
    def deleted(self) -> list[str]:
        """All keys that are gone, once each."""
        found = [self.removed[name].keys for name in self.planned if name in self.removed]
        return list(dict.fromkeys(key for keys in found for key in keys))


def coordinates(spec: Caches) -> Coordinates:
    """Where the keys of a target are.

    Raises:
        UsageError: If one of its further namespaces is not ``NAME=TEMPLATE``.
    """
    templates = []
    for said in spec.keys:
        name, separator, template = said.partition("=")
        if not separator or not name or not template:
            raise UsageError(f"{said} is no namespace", why="it must be NAME=TEMPLATE, as in pages={app}:page:{name}")
        templates.append((name, template))
    return Coordinates(spec.url, spec.preset, spec.app, spec.version, tuple(templates))


def open_cache_job(spec: Caches, opening: Opening, state: State, ambient: Ambient) -> Job:
    """A job over the namespaces of a cache. Nothing is connected to yet."""
    store = CacheStore(coordinates(spec), opening, spec.namespaces)
    return Job(
        target=spec.target({CACHE: store.properties.location}),
        policy=Policy(),
        stores={CACHE: store},
        state=state,
        ambient=ambient,
        limits=spec.limits,
        audit=Audit(caches.method(_nothing), CACHE),
    )


def _nothing(_: Key, __: Mapping[Side, Shown], ___: Act) -> Record:
    return Record.of({})


def spec_of(location: str, name: str) -> Caches:
    """The target that is at a location, as plans say it; without what it is warmed from."""
    url, *said = location.split(" ")
    preset, app, version, *keys = [*map(unquote, said), "", "", ""][: max(3, len(said))]
    return Caches(name, url, preset, app, version, tuple(keys))


async def stats(job: Job) -> dict[str, Stats]:
    """How much each namespace holds."""
    return await job.ambient.threads(_store(job).stats)


def _store(job: Job) -> CacheStore:
    store = job.stores[CACHE]
    assert isinstance(store, CacheStore)  # noqa: S101  # `open_cache_job` has opened it
    return store


async def carry_out(job: Job, spec: Caches, request: Request, into: CacheReport, *, confirm: Confirm) -> None:
    """Look, make a plan of what is asked for, show it, carry it out.

    Args:
        job: As `open_cache_job`.
        spec: The target, for what its cache is warmed from.
        request: What is asked for.
        into: Is told everything.
        confirm: Is shown the plan; False ends the run with nothing done.

    Raises:
        UsageError: If a key or a namespace is not the application's.
        StoreError: If the cache cannot be looked at.
        Locked: If another run holds the target.
    """
    request.check()
    work = _Work(job, spec, request, into)
    await work.prepare()
    how = replace(job.audit, method=caches.method(work.record)) if job.audit else None
    assert how is not None  # noqa: S101  # `open_cache_job` has said how
    into.report = await act(replace(job, act=work.act), how, work.ask, confirm=confirm)


@dataclass(slots=True)
class _Work:
    job: Job
    spec: Caches
    request: Request
    into: CacheReport
    templates: Templates | None = None
    looked: dict[str, Template] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)
    """Namespaces of which every key goes, also one that is written while the run goes on."""

    @property
    def store(self) -> CacheStore:
        return _store(self.job)

    # -- before the plan -----------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Find out what there is to warm, and what has changed. Everything that is asked of the cache is a look."""
        operation = self.request.operation
        named: dict[str, list[str]] = {}
        for key in dict.fromkeys(self.request.keys):
            named.setdefault(self.store.namespace_of(key), []).append(key)
        wanted = list(self.request.namespaces) or ([] if named else list(self.store.namespaces))
        self.store.choose([*wanted, *named])
        await self.job.ambient.threads(lambda: list(self.store.rows()))
        if operation is not Operation.WARM:
            self.whole.update(wanted)
            for name in wanted:
                self.into.planned[name] = [text(key) for key in sorted(self.store.found[name])]
            for name, keys in named.items():
                self.into.planned.setdefault(name, [key for key in keys if raw(key) in self.store.found[name]])
                self.into.notes += [f"{key} is not there" for key in keys if raw(key) not in self.store.found[name]]
        if operation is not Operation.CLEAR and (operation is Operation.WARM or self.request.warm):
            await self.job.ambient.threads(self._find_templates)
            self._find_pages(wanted)
        if operation is Operation.REFRESH and not named:
            await self.job.ambient.threads(self._only_changed)

    @property
    def _bytecode(self) -> str:
        return self.store.preset.bytecode

    def _find_templates(self) -> None:
        filled = [name for name in self.store.namespaces if name not in (RESPONSES, GATHERED)]
        if not self._bytecode or not filled:
            return
        if self.spec.environment is None:
            self.into.notes.append("no templates are compiled: the target names no environment")
            return
        self.templates = Templates(self.spec.environment())
        names = self.templates.names()
        for name in names:
            self.looked[name] = self.templates.look(name)
        namespace = self._bytecode if self._bytecode in filled else filled[0]
        self.into.to_warm[namespace] = names

    def _find_pages(self, wanted: Sequence[str]) -> None:
        if RESPONSES not in wanted:
            return
        pages = self.spec.urls() if self.spec.urls is not None else ()
        if pages:
            self.into.to_warm[RESPONSES] = list(pages)
        else:
            self.into.notes.append("no responses are warmed: the target names no urls")

    def _only_changed(self) -> None:
        """Bytecode says of which source it is; of all other keys nobody can tell, and all of them go."""
        namespace = self._bytecode
        if self.templates is None or namespace not in self.into.planned:
            return
        self.whole.discard(namespace)
        form = self.store.patterns[namespace]
        heads = {text(form.filled(one.key)): one.head for one in self.looked.values() if one.key}
        there = [key for key in heads if raw(key) in self.store.found[namespace]]
        values = self.store.values(there)
        self.into.planned[namespace] = [
            key for key, value in zip(there, values, strict=True) if value is None or not value.startswith(heads[key])
        ]

    # -- the plan ------------------------------------------------------------------------------------------------

    def ask(self, judged: Sequence[Judged]) -> list[Judged]:
        """The namespaces in which something is to be done."""
        found = []
        for one in judged:
            keys, pages = self.into.planned.get(one.key, []), self.into.to_warm.get(one.key, [])
            if keys or pages:
                found.append(replace(one, rule=Rule(self._reason, (Act(Verb.ACT, CACHE),), why=self._why(keys, pages))))
        return found

    @property
    def _reason(self) -> str:
        return f"cache_{self.request.operation.value}"

    def _why(self, keys: Sequence[str], pages: Sequence[str]) -> str:
        said = []
        if keys:
            more = ", ..." if len(keys) > SAMPLES else ""
            word = "clear" if self.request.operation is Operation.CLEAR else "invalidate"
            said.append(f"{word} {len(keys):,} key{'s'[: len(keys) != 1]}: {', '.join(keys[:SAMPLES])}{more}")
        if pages:
            more = ", ..." if len(pages) > SAMPLES else ""
            said.append(f"warm {len(pages):,}: {', '.join(pages[:SAMPLES])}{more}")
        return "; ".join(said)

    def record(self, key: Key, _: Mapping[Side, Shown], __: Act) -> Record:
        """What a step does, for the history."""
        keys, pages = self.into.planned.get(key, []), self.into.to_warm.get(key, [])
        done = {"do": self.request.operation.value, "keys": len(keys), "samples": keys[:SAMPLES], "warm": len(pages)}
        return Record.of(done)

    # -- the run -------------------------------------------------------------------------------------------------

    async def act(self, step: Step) -> None:
        """Carry out one step.

        Raises:
            StoreError: If it could not be done, or not all of it.
        """
        if self.into.planned.get(step.key):
            try:
                await self.job.ambient.threads(self._remove, step.key)
            except StoreError as error:
                self.into.failed.append(error)
                raise
        await self._warm(step.key)

    def _remove(self, namespace: str) -> None:
        removed = self.into.removed[namespace] = Removed()
        if namespace in self.whole:
            self.store.remove_all(namespace, removed, stop=self.job.draining)
        else:
            self.store.remove_named(namespace, self.into.planned[namespace], removed)
        if removed.unplanned:
            self.into.notes.append(
                f"{namespace}: {removed.unplanned} of the deleted keys were written after the plan was made"
            )
        if removed.left:
            self.into.notes.append(f"{namespace}: {removed.left} members of tags are not of this application, and stay")
        if removed.missing:
            self.into.notes.append(f"{namespace}: {removed.missing} keys had gone before")

    async def _warm(self, namespace: str) -> None:
        one: Callable[[str], str] = self._page if namespace == RESPONSES else self._template
        failed: list[StoreError] = []
        for name in self.into.to_warm.get(namespace, []):
            if self.job.draining():
                raise StoreError("stopped before all was warmed")
            try:
                self.into.warmed.append(await self.job.ambient.threads(one, name))
            except StoreError as error:
                failed.append(error)
        self.into.failed += failed
        if failed:
            raise StoreError(f"{len(failed)} could not be warmed", why=str(failed[0]))

    def _page(self, url: str) -> str:
        fetch(url)
        return url

    def _template(self, name: str) -> str:
        assert self.templates is not None  # noqa: S101  # `to_warm` has none without them
        key = self.templates.warm(name)
        form = self.store.patterns.get(self._bytecode)
        return text(form.filled(key)) if key and form is not None else name


async def never(_: Plan) -> bool:
    """A `Confirm` that says no: a dry run."""
    return False


__all__ = [
    "CacheReport",
    "Operation",
    "Request",
    "Stats",
    "carry_out",
    "never",
    "open_cache_job",
    "spec_of",
    "stats",
]
