"""Carry out a plan. Nothing is decided here: every step names its side, its verb and the version that it expects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import anyio

from trueup.core.audit import RECORDING
from trueup.core.errors import Corrupt, NoSpace, PreconditionFailed, StoreError, TrueupError
from trueup.core.model import (
    DIRECTORY_TOKEN,
    Entry,
    Key,
    Side,
    is_directory,
    key_bytes,
)
from trueup.core.plan import Item, Phase, Plan, Ref, Step
from trueup.core.report import Ending, Outcome, Report, Status
from trueup.core.table import Verb
from trueup.engine.agree import adopted, trusted, written
from trueup.engine.groups import ungrouped
from trueup.engine.job import Job, Progress
from trueup.engine.journal import Finished, RunState
from trueup.engine.units import MOST_TOGETHER, Numbered, lone_step, units
from trueup.engine.wrap import Retrying
from trueup.protocols import Effect, Move, Put, Remove, Source, Store, Trash, Written, carry_out, document


async def execute(plan: Plan, job: Job) -> Report:
    """Carry out a plan that was checked and confirmed.

    Every item that is finished is recorded with its ancestor; a failed one stops nothing but what needs it and the
    deletions, which come last.

    Raises:
        ConfigError: If the plan does what nobody has approved; nothing was done.
    """
    if job.permit is not None:
        await job.ambient.threads(job.permit, plan)
    begun = job.ambient.clock.monotonic()
    run = job.ambient.run_id()
    number = await job.ambient.threads(job.state.remember_target, job.target)
    await job.ambient.threads(job.state.keep_damaged, number, plan.damaged_ancestors)
    await _mark_roots(job, number, plan)
    now_ns = job.ambient.clock.now_ns()
    await job.ambient.threads(job.journal.begin, run, number, plan, job.command, now_ns)
    execution = _Execution(plan, job, run, number)
    with ungrouped(TrueupError):
        stopped = await execution.phases()
    outcomes = tuple(execution.outcomes())
    report = Report(
        plan,
        Ending.INTERRUPTED if stopped else Ending.APPLIED,
        run,
        outcomes,
        seconds=job.ambient.clock.monotonic() - begun,
    )
    await job.ambient.threads(job.journal.end, run, _state(report), job.ambient.clock.now_ns())
    return report


async def remember(plan: Plan, job: Job) -> None:
    """Remember what both sides agree on already. Nothing is written on a side, so it is no run of the history."""
    number = await job.ambient.threads(job.state.remember_target, job.target)
    await job.ambient.threads(job.state.keep_damaged, number, plan.damaged_ancestors)
    agreed = [adopted(job, item, plan.made_ns) for item in plan.items if item.phase is Phase.AGREE and item.steps]
    await job.ambient.threads(job.state.set_ancestors, number, agreed)


async def _mark_roots(job: Job, number: int, plan: Plan) -> None:
    """Give each root that may be written its identity, before anything else is written there."""
    if not plan.changes:
        return
    markers = {}
    for side in job.written:
        identity = await job.stores[side].set_marker(job.ambient.unique() + job.ambient.unique())
        if identity:  # a side that records carries none
            markers[side] = identity
    await job.ambient.threads(job.state.set_markers, number, markers)


def _state(report: Report) -> RunState:
    counts = report.counts
    if report.ending is Ending.INTERRUPTED:
        return RunState.INTERRUPTED
    if counts[Status.DONE] == len(report.outcomes):
        return RunState.APPLIED
    return RunState.PARTIAL if counts[Status.DONE] else RunState.FAILED


@dataclass(slots=True)
class _Execution:
    plan: Plan
    job: Job
    run: str
    number: int
    results: dict[int, tuple[Outcome, ...]] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    """Ids of steps that were carried out."""
    found: set[str] = field(default_factory=set)
    """Ids of those that wrote nothing: it was there already."""
    failed: bool = False
    ahead: dict[str, Written | StoreError] = field(default_factory=dict)
    """What became of steps that were carried out together with others, before their items are finished."""
    full: set[Side] = field(default_factory=set)
    """Sides that have no room: what else would be written there is not tried."""
    stores: Mapping[Side, Store] = field(default_factory=dict)
    items_done: int = 0
    bytes_done: int = 0
    total_items: int = 0
    total_bytes: int = 0

    def __post_init__(self) -> None:
        job = self.job
        self.stores = {
            side: Retrying(store, patience=job.patience, ambient=job.ambient, pace=job.pace)
            for side, store in job.stores.items()
        }
        self.total_items = len(self.plan.changes)
        self.total_bytes = sum(self.plan.bytes_to(side) for side in job.stores)

    def outcomes(self) -> Iterator[Outcome]:
        """In the order of the plan."""
        for n in range(len(self.plan.items)):
            yield from self.results.get(n, ())

    async def phases(self) -> bool:
        """Run phase after phase; True if the run was asked to stop before its end."""
        for phase in Phase:
            items = [(n, item) for n, item in enumerate(self.plan.items) if item.steps and item.phase is phase]
            if phase in (Phase.CLEAR, Phase.DELETE):  # the deepest first
                items.sort(key=lambda pair: key_bytes(pair[1].key), reverse=True)
            if phase is Phase.DELETE and self.failed:
                await self._skip(items, "nothing is deleted after a write has failed")
            elif items:
                await self._phase(phase, items)
        skipped = [(n, item) for n, item in enumerate(self.plan.items) if item.steps and n not in self.results]
        await self._skip(skipped, "the run was stopped")
        return bool(skipped)

    async def _phase(self, phase: Phase, items: Sequence[tuple[int, Item]]) -> None:
        ledger = _Ledger(self._commit)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ledger.keep)
            # Directories are deleted one after the other: each must find those below it gone.
            in_turn = phase in (Phase.CLEAR, Phase.DELETE) and any(is_directory(item.key) for _, item in items)

            async def work(unit: Sequence[Numbered]) -> None:
                begun_ns = self.job.ambient.clock.now_ns()
                if len(unit) > 1:
                    await self._go_ahead([item for _, item in unit])
                for n, item in unit:
                    ledger.add(self._adopt(n, item) if phase is Phase.AGREE else await self._item(n, item, begun_ns))

            together = min(MOST_TOGETHER, len(items) // (4 * self.job.pace.most))
            found = units(items, together)
            await self.job.pace.spread(found, work, most=1 if in_turn else None, stop=self.job.draining)
            ledger.close()

    async def _go_ahead(self, items: Sequence[Item]) -> None:
        """Carry out the effects of small items by one call of the store; what comes after each follows as usual."""
        steps = [step for item in items if (step := lone_step(item)) is not None]
        side = steps[0].side
        effects = [self._effect(step, self._trash(item, step)) for item, step in zip(items, steps, strict=True)]
        if side not in self.full:
            answers = await self.stores[side].batch([effect for effect in effects if effect is not None])
            self.ahead.update(zip((step.id for step in steps), answers, strict=True))

    def _trash(self, item: Item, step: Step) -> Trash | None:
        """Where what the step replaces goes: its item saves it, or nobody wants it."""
        return Trash(self.run) if any(s.verb is Verb.SAVE and s.side == step.side for s in item.steps) else None

    # -- one item ------------------------------------------------------------------------------------------------

    def _adopt(self, n: int, item: Item) -> Finished:
        """Nothing to write: both sides hold the same, or nothing, already."""
        outcomes = tuple(Outcome(step.id, step.key, Status.DONE) for step in item.steps)
        self.results[n] = outcomes
        return Finished(n, outcomes, (adopted(self.job, item, self.plan.made_ns),))

    async def _item(self, n: int, item: Item, begun_ns: int) -> Finished:
        outcomes: list[Outcome] = []
        results: dict[str, Written] = {}
        saves = [step for step in item.steps if step.verb is Verb.SAVE]
        for step in item.steps:
            if step.verb is Verb.SAVE:
                continue  # one operation with the write that it protects; its outcome follows below
            if not self._ready(item, step) or (outcomes and outcomes[-1].status is not Status.DONE):
                outcomes.append(Outcome(step.id, step.key, Status.SKIPPED, "a step that it needs was not carried out"))
                continue
            outcome, result = await self._attempt(step, self._trash(item, step))
            outcomes.append(outcome)
            if result is not None:
                results[step.id] = result
                self.done.add(step.id)
        outcomes += [_save_outcome(save, item, outcomes) for save in saves]
        self.done.update(outcome.step for outcome in outcomes if outcome.status is Status.DONE)
        self.failed = self.failed or any(outcome.status is not Status.DONE for outcome in outcomes)
        ordered = tuple(sorted(outcomes, key=lambda outcome: [s.id for s in item.steps].index(outcome.step)))
        self.results[n] = ordered
        self._report(item, ordered)
        complete = all(outcome.status is Status.DONE for outcome in ordered)
        agrees = complete and self.job.audit is None
        agreed = tuple(written(self.job, self.plan, item, results, begun_ns)) if agrees else ()
        return Finished(n, ordered, agreed)

    def _ready(self, item: Item, step: Step) -> bool:
        """Whether what the step needs is done. After-steps follow whatever of it was written."""
        if item.phase >= Phase.AFTER:
            return not step.needs or not self.done.isdisjoint(step.needs)
        saves = {other.id for other in item.steps if other.verb is Verb.SAVE}
        return all(need in self.done or need in saves for need in step.needs)

    def _report(self, item: Item, outcomes: Sequence[Outcome]) -> None:
        self.items_done += 1
        self.bytes_done += sum(step.value.content.size for step in item.steps if step.value is not None)
        worst = next((outcome for outcome in outcomes if outcome.status is not Status.DONE), outcomes[0])
        self.job.on_progress(
            Progress(
                "execute",
                None,
                self.items_done,
                self.total_items,
                self.bytes_done,
                self.total_bytes,
                item.key,
                worst,
            )
        )

    async def _attempt(self, step: Step, trash: Trash | None) -> tuple[Outcome, Written | None]:
        """Carry out one step; an expected failure is an outcome."""
        if step.side in self.full and step.value is not None:
            return Outcome(step.id, step.key, Status.SKIPPED, f"{step.side} has no room", NoSpace.code), None
        try:
            written = await self._do(step, trash)
        except PreconditionFailed as error:
            return Outcome(step.id, step.key, Status.CHANGED, str(error), error.code), None
        except StoreError as error:
            if isinstance(error, NoSpace):
                self.full.add(step.side)
            if isinstance(error, Corrupt) and step.value is not None:  # or the digest is wrong: the next run looks
                await self.job.ambient.threads(
                    self.job.state.forget_digest, self.number, step.value.side, step.value.key
                )
            return Outcome(step.id, step.key, Status.FAILED, str(error), error.code), None
        self.job.pace.succeeded()
        outcome = Outcome(
            step.id,
            step.key,
            Status.DONE,
            token=written.token,
            fingerprint=written.fingerprint,
            kept=written.kept,
            found=step.id in self.found,
        )
        return outcome, written

    async def _do(self, step: Step, trash: Trash | None) -> Written:
        if step.verb is Verb.ACT:
            return await self._act(step)
        answer = self.ahead.pop(step.id, None)
        if isinstance(answer, Written):
            return answer
        store = self.stores[step.side]
        try:
            if answer is not None:
                raise answer
            effect = self._effect(step, trash)
            if effect is None:
                return await store.make_directory(_directory(step), expect=step.expect, trash=trash)
            return await carry_out(store, effect)
        except PreconditionFailed:
            found = await self._there_already(step) if _is_new(store, step) else None
            if found is None:
                raise
            self.found.add(step.id)
            return found

    async def _act(self, step: Step) -> Written:
        if self.job.act is None:
            raise StoreError(f"{step.key} cannot be carried out for a target of this kind")
        await self.job.act(step)
        return Written(None)

    def _effect(self, step: Step, trash: Trash | None) -> Effect | None:
        """What the step asks of its store; None: to make a directory."""
        match step.verb:
            case Verb.DELETE if step.expect is not None:
                return Remove(step.key, step.expect, trash)
            case Verb.MOVE if step.value is not None:
                return Move(step.value.key, step.key, step.value.token)
            case Verb.PUT | Verb.SIBLING | Verb.REPLACE_KIND if step.value is not None and not is_directory(step.key):
                if _is_new(self.stores[step.side], step):
                    return Put(step.key, self._source(step.value), None, None)
                return Put(step.key, self._source(step.value), step.expect, trash)
            case Verb.PUT | Verb.REPLACE_KIND:
                return None
            case _ if step.verb in RECORDING:
                return self._recording(step)
            case _:
                raise StoreError(f"{step.verb.value} of {step.key} cannot be carried out")

    def _recording(self, step: Step) -> Effect:
        """A record is written as it was planned, or as it was kept when it was removed. What it replaces is kept."""
        trash = Trash(self.run)
        if step.record is not None:
            return Put(step.key, document(step.record.document), step.expect, trash)
        if step.value is not None:
            return Put(step.key, self._source(step.value), step.expect, trash)
        if step.expect is not None:
            return Remove(step.key, step.expect, trash)
        raise StoreError(f"{step.verb.value} of {step.key} cannot be carried out")

    def _source(self, value: Ref) -> Source:
        store = self.stores[value.side]
        entry = Entry(value.token, value.content, value.modified_ns, value.mode)
        return store.source(value.key, entry) if value.kept is None else store.kept_source(value.kept, entry)

    async def _there_already(self, step: Step) -> Written | None:
        """What is there under a new name, if it is just the content that was to be written: as good as written.

        After a run that was stopped between two siblings, the next one copies the first as a file that is new on one
        side and makes it as a sibling: whichever comes second finds it there.
        """
        store, value = self.stores[step.side], step.value
        # Nobody has seen it under this name, and it may be there under another spelling: the next listing tells.
        unsure = store.properties.names.folds and step.expect is None
        if value is None or step.verb is Verb.MOVE or is_directory(step.key) or unsure:
            return None
        entry = await store.stat(step.key)
        if entry is None or entry.content.size != value.content.size:
            return None
        wanted = value.content.fingerprint
        if wanted is None and value.kept is not None:
            return None
        now_ns = self.job.ambient.clock.now_ns()
        if not trusted(self.job, step.side, entry.token, modified_ns=entry.modified_ns, observed_ns=now_ns):
            return None  # so young that its version would not show another edit: the next run looks at it
        found = await store.fingerprint(step.key, entry.token)
        if found != (wanted or await self.stores[value.side].fingerprint(value.key, value.token)):
            return None
        return Written(entry.token, found)

    # -- the journal ---------------------------------------------------------------------------------------------

    async def _commit(self, batch: Sequence[Finished]) -> None:
        touched = {step.side for item in batch for step in self.plan.items[item.n].steps if step.verb is not Verb.ADOPT}
        for side in touched:
            try:
                await self.job.stores[side].flush()
            except StoreError as error:
                batch = [self._unwritten(item, side, error) for item in batch]
        await self.job.ambient.threads(self.job.journal.record, self.run, self.number, batch)

    def _unwritten(self, finished: Finished, side: Side, error: StoreError) -> Finished:
        """The item as it stands after all: what the side was given did not last."""
        status = Status.CHANGED if isinstance(error, PreconditionFailed) else Status.FAILED
        lost = {step.id for step in self.plan.items[finished.n].steps if step.side == side}
        outcomes = tuple(
            Outcome(outcome.step, outcome.key, status, str(error), error.code)
            if outcome.step in lost and outcome.status is Status.DONE
            else outcome
            for outcome in finished.outcomes
        )
        if outcomes == finished.outcomes:
            return finished
        self.failed = True
        self.results[finished.n] = outcomes
        return Finished(finished.n, outcomes)

    async def _skip(self, items: Sequence[tuple[int, Item]], why: str) -> None:
        batch = []
        for n, item in items:
            outcomes = tuple(Outcome(step.id, step.key, Status.SKIPPED, why) for step in item.steps)
            self.results[n] = outcomes
            batch.append(Finished(n, outcomes))
        if batch:
            await self.job.ambient.threads(self.job.journal.record, self.run, self.number, batch)


class _Ledger:
    """Collects finished items and records them, as many together as have finished during the last record."""

    def __init__(self, commit: Callable[[Sequence[Finished]], Awaitable[None]]) -> None:
        self._commit = commit
        self._finished: list[Finished] = []
        self._news = anyio.Event()
        self._closed = False

    def add(self, finished: Finished) -> None:
        """An item is finished."""
        self._finished.append(finished)
        self._news.set()

    def close(self) -> None:
        """Nothing more will come."""
        self._closed = True
        self._news.set()

    async def keep(self) -> None:
        """Record until closed, and until all is recorded."""
        while self._finished or not self._closed:
            if not self._finished:
                await self._news.wait()
            self._news = anyio.Event()
            batch, self._finished = self._finished, []
            if batch:
                await self._commit(batch)


def _directory(step: Step) -> Key:
    return step.key if is_directory(step.key) else Key(step.key + "/")


def _is_new(store: Store, step: Step) -> bool:
    """Whether nothing bears the name: on a side without directories an emptied one is gone."""
    if step.expect is None or step.verb is Verb.SIBLING:
        return True
    return step.expect == DIRECTORY_TOKEN and not store.properties.directories


def _save_outcome(save: Step, item: Item, outcomes: Sequence[Outcome]) -> Outcome:
    """The save shares the fate of the write that needs it."""
    protected = {step.id for step in item.steps if save.id in step.needs}
    fate = next(outcome for outcome in outcomes if outcome.step in protected)
    return replace(fate, step=save.id, token=None, fingerprint=None)
