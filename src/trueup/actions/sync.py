"""``sync.templates()``, ``sync.settings()``, ``sync.static()``: calls of a web team, as its documents write them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self, TypeVar

import anyio.to_thread

from trueup.api import Engine
from trueup.api.files import Wish, find, roots
from trueup.config import Config, load
from trueup.core.errors import ConflictError, StoreError
from trueup.core.model import LOCAL, REMOTE, Damaged, Entry, Unknown, is_directory
from trueup.core.plan import Item, Phase, Plan, Step
from trueup.core.reconcile import Reason
from trueup.core.report import Ending, Report, Status, exit_code
from trueup.core.strategy import Conflict, Deletes, Direction, Keep, Policy
from trueup.core.table import Standing, Verb
from trueup.targets import Reload, Settings, Templates, settings, static, templates
from trueup.targets.folders import Folders, Tuning
from trueup.targets.settings import adapter_of, patterns_of

__all__ = [
    "ConflictStrategy",
    "SettingsSyncResult",
    "StaticSyncResult",
    "SyncDirection",
    "SyncResult",
    "SyncStrategy",
    "TemplateSyncResult",
    "sync",
]

AnyPath = str | os.PathLike[str]
"""`pathlib.Path` and `anyio.Path` are."""


class SyncDirection(StrEnum):
    """Which sides may be written."""

    PULL = "pull"
    PUSH = "push"
    BIDIRECTIONAL = "bidirectional"


class ConflictStrategy(StrEnum):
    """Who wins when both sides changed."""

    REMOTE_WINS = "remote_wins"
    LOCAL_WINS = "local_wins"
    NEWEST_WINS = "newest_wins"
    MANUAL = "manual"
    BACKUP_BOTH = "backup_both"


@dataclass(frozen=True, slots=True)
class SyncStrategy:
    """How a call goes about it."""

    direction: SyncDirection = SyncDirection.BIDIRECTIONAL
    conflict_strategy: ConflictStrategy = ConflictStrategy.NEWEST_WINS
    dry_run: bool = False
    """Look, and write nothing on any side."""
    backup_on_conflict: bool = True
    """Whether the version that loses a conflict goes to the trash. What else is replaced always does."""
    parallel: bool = True
    """Whether items go beside each other, or one after the other."""
    max_concurrent: int = 5
    """Items in flight at once."""
    timeout: float = 30.0
    """Seconds for one attempt at one item."""
    retry_attempts: int = 2
    """Further attempts after the first."""
    retry_delay: float = 0.5
    """Seconds before the second attempt; doubled for each one after."""
    deletes: Deletes | None = None
    """What a deletion on one side means; None: as it is configured, else it comes back."""

    def applied(self, spec: Folders) -> Folders:
        """The target, gone about in this way."""
        return replace(
            spec,
            policy=Policy(
                Direction(self.direction),
                Conflict(self.conflict_strategy),
                self.deletes or spec.policy.deletes,
                _kept(spec.policy.keep, losers=self.backup_on_conflict),
            ),
            tuning=Tuning(
                self.max_concurrent if self.parallel else 1,
                self.timeout,
                self.retry_attempts,
                self.retry_delay,
                spec.tuning.bytes_per_second,
            ),
        )


def _kept(keep: Keep, *, losers: bool) -> Keep:
    """What is kept as configured, but the losers of conflicts as the call says."""
    others = keep in (Keep.ALL, Keep.UNCONTESTED)
    if losers:
        return Keep.ALL if others else Keep.CONFLICTS
    return Keep.UNCONTESTED if others else Keep.NONE


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What became of a call. It may be partial: what is done is done, and the rest is named."""

    synced_items: list[str] = field(default_factory=list)
    """``PULL: path``, ``PUSH: path``, ``DELETE local: path``, ``MOVE remote: old -> new``."""
    conflicts: list[dict[str, Any]] = field(default_factory=list)
    """Each with ``path``, ``local_mtime`` and ``remote_mtime`` (seconds since the epoch, or None) and ``reason``: what
    was settled, and how; ``conflict`` where it waits for a person."""
    errors: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """``path: reason`` of what differs and stays as it is."""
    backed_up: list[str] = field(default_factory=list)
    """Losers of conflicts: ``SIDE: HANDLE`` in that side's trash, or ``SIDE: path`` of a sibling."""
    report: Report | None = field(default=None, repr=False)
    """All of it, in the engine's own terms; None if no side could be looked at."""

    @property
    def has_conflicts(self) -> bool:
        """Whether there were any, settled or not."""
        return bool(self.conflicts)

    @property
    def unresolved(self) -> list[dict[str, Any]]:
        """Conflicts that wait for a person."""
        return [conflict for conflict in self.conflicts if conflict["reason"] in _OPEN]

    @property
    def has_errors(self) -> bool:
        """Whether anything failed."""
        return bool(self.errors)

    @property
    def total_processed(self) -> int:
        """Synced, failed, skipped, and waiting for a person."""
        return len(self.synced_items) + len(self.errors) + len(self.skipped) + len(self.unresolved)

    @property
    def success_count(self) -> int:
        """How many items were synced."""
        return len(self.synced_items)

    @property
    def is_success(self) -> bool:
        """Whether nothing failed and nothing waits for a person."""
        return not self.errors and not self.unresolved

    ok = is_success

    @property
    def partial(self) -> bool:
        """Whether some of it was done and some not."""
        return bool(self.synced_items) and not self.is_success

    @property
    def exit_code(self) -> int:
        """That of the command line for the same."""
        return StoreError.exit_code if self.report is None else exit_code(self.report)

    def raise_for_status(self) -> Self:
        """The result itself.

        Raises:
            ConflictError: If a conflict waits for a person.
            StoreError: If anything failed.
        """
        if self.errors:
            raise StoreError(f"{len(self.errors)} items were not synced", why="; ".join(self.errors[:5]))
        if self.unresolved:
            raise _undecided(self)
        return self


@dataclass(frozen=True, slots=True)
class TemplateSyncResult(SyncResult):
    """What became of templates."""

    cache_invalidated: list[str] = field(default_factory=list)
    """Keys of caches."""
    bytecode_cleared: list[str] = field(default_factory=list)
    """Files of Jinja2's bytecode cache."""


@dataclass(frozen=True, slots=True)
class SettingsSyncResult(SyncResult):
    """What became of settings."""

    config_reloaded: bool = False
    """Whether the application has read them again."""
    adapters_affected: list[str] = field(default_factory=list)
    """Sorted."""
    rolled_back: bool = False
    """Whether the previous settings were put back, because the application could not read the new ones."""


@dataclass(frozen=True, slots=True)
class StaticSyncResult(SyncResult):
    """What became of static files."""


R = TypeVar("R", bound=SyncResult)
_OPEN = frozenset({Reason.CONFLICT.value, Reason.KIND_CONFLICT.value})
_SETTLED = frozenset({Reason.LOCAL_WINS, Reason.REMOTE_WINS, Reason.KEEP_BOTH})
_LEFT = frozenset({Reason.KEPT_LOCAL, Reason.KEPT_REMOTE})
_SILENT = frozenset({Reason.ADOPT, Reason.AGREE, Reason.MOVED})


class Sync:
    """Keeps what a web team deploys in agreement: working folder, bucket, caches.

    Each call finds its target in the configuration of the current folder, by its kind; what the call says goes on top.
    """

    __name__ = "sync"

    async def templates(
        self,
        *,
        template_paths: Sequence[AnyPath] | None = None,
        patterns: Sequence[str] | None = None,
        strategy: SyncStrategy | None = None,
        storage_bucket: str = "templates",
        target: str = "",
        check: bool = True,
        environment: Any = None,
        bytecode: AnyPath | None = None,
        dry_run: bool = False,
    ) -> TemplateSyncResult:
        """Synchronize templates between folders and a bucket.

        Args:
            template_paths: The folders; several are told apart by their names. Default: as configured, or
                ``templates``.
            patterns: Which files belong. Default: as configured, or ``*.html *.jinja2 *.j2``.
            strategy: How to go about it. Default: as configured, or as `SyncStrategy` says.
            storage_bucket: A name of ``[buckets]``, a URL, or a path with a slash.
            target: Name of a configured target, where there are several of this kind.
            check: Whether a template that Jinja2 cannot parse is held.
            environment: The application's `jinja2.Environment`, to parse with.
            bytecode: Folder of its bytecode cache.
            dry_run: As that of the strategy; one of them is enough.

        Raises:
            ConflictError: If the strategy is MANUAL and there are conflicts, after everything else is done.
            PlanRefused: If a guard stops the run before the first write.
            UsageError: If it cannot be told what is meant.
        """

        def known(spec: Folders) -> Folders:
            nature = spec.nature if isinstance(spec.nature, Templates) else Templates()
            place = nature.bytecode if bytecode is None else os.path.abspath(bytecode)  # noqa: PTH100 - links stay
            own = environment if environment is not None else nature.environment
            return replace(spec, nature=replace(nature, check=check and nature.check, environment=own, bytecode=place))

        wish = _wish(templates.KIND, template_paths, storage_bucket, patterns, target)
        call = _Call(wish, strategy, known, dry_run=dry_run)
        result = await call.result(TemplateSyncResult)
        done = _acts(result, "bytecode")
        return _finished(replace(result, bytecode_cleared=[name for act in done for name in act["files"]]), call)

    async def settings(
        self,
        *,
        settings_path: AnyPath | None = None,
        adapter_names: Sequence[str] | None = None,
        strategy: SyncStrategy | None = None,
        storage_bucket: str = "settings",
        reload_config: bool = True,
        target: str = "",
        check: bool = True,
        schemas: AnyPath | None = None,
        reload: Callable[[], object] | None = None,
        dry_run: bool = False,
    ) -> SettingsSyncResult:
        """Synchronize settings files, and have the application read them again.

        Args:
            settings_path: The folder. Default: as configured, or ``settings``.
            adapter_names: Whose settings; each is a file of that name. Default: all.
            strategy: How to go about it. Default: as configured, or as `SyncStrategy` says.
            storage_bucket: A name of ``[buckets]``, a URL, or a path with a slash.
            reload_config: Whether the application is told after settings were written here.
            target: Name of a configured target, where there are several of this kind.
            check: Whether a file that is not valid is held.
            schemas: Folder of JSON Schemas, ``ADAPTER.json`` each.
            reload: Is called in a thread, in place of what is configured; what it returns is awaited, if that can be.
                If it raises, the previous settings are put back.
            dry_run: As that of the strategy; one of them is enough.

        Raises:
            ConflictError: If the strategy is MANUAL and there are conflicts, after everything else is done.
            PlanRefused: If a guard stops the run before the first write.
            UsageError: If it cannot be told what is meant.
        """

        def known(spec: Folders) -> Folders:
            nature = spec.nature if isinstance(spec.nature, Settings) else Settings()
            how = nature.reload if reload is None else Reload(call=reload)
            place = nature.schemas if schemas is None else os.path.abspath(schemas)  # noqa: PTH100 - links stay
            return replace(
                spec,
                nature=Settings(check and nature.check, place, how if reload_config else Reload()),
            )

        names = None if adapter_names is None else patterns_of(adapter_names)
        paths = None if settings_path is None else [settings_path]
        wish = _wish(settings.KIND, paths, storage_bucket, names, target)
        call = _Call(wish, strategy, known, dry_run=dry_run)
        result = await call.result(SettingsSyncResult)
        taken = result.report is not None and result.report.rolled_back is not None
        adapters = sorted({adapter_of(step.key) for step in _changed(result)})
        reloaded = bool(_acts(result, "reload")) and not call.dry_run
        found = replace(result, config_reloaded=reloaded, adapters_affected=adapters, rolled_back=taken)
        return _finished(found, call)

    async def static(
        self,
        *,
        static_paths: Sequence[AnyPath] | None = None,
        patterns: Sequence[str] | None = None,
        strategy: SyncStrategy | None = None,
        storage_bucket: str = "static",
        target: str = "",
        dry_run: bool = False,
    ) -> StaticSyncResult:
        """Synchronize static files; a bucket is told their type, and how long caches may keep them.

        Args:
            static_paths: The folders. Default: as configured, or ``static``.
            patterns: Which files belong. Default: as configured, or what browsers load.
            strategy: How to go about it. Default: as configured, or as `SyncStrategy` says.
            storage_bucket: A name of ``[buckets]``, a URL, or a path with a slash.
            target: Name of a configured target, where there are several of this kind.
            dry_run: As that of the strategy; one of them is enough.

        Raises:
            ConflictError: If the strategy is MANUAL and there are conflicts, after everything else is done.
            PlanRefused: If a guard stops the run before the first write.
            UsageError: If it cannot be told what is meant.
        """
        wish = _wish(static.KIND, static_paths, storage_bucket, patterns, target)
        call = _Call(wish, strategy, lambda spec: spec, dry_run=dry_run)
        return _finished(await call.result(StaticSyncResult), call)


sync = Sync()


def _wish(
    kind: str,
    paths: Sequence[AnyPath] | None,
    bucket: str,
    patterns: Sequence[str] | None,
    target: str,
) -> Wish:
    """An empty list is nobody's wish for nothing: it counts as not given."""
    return Wish(kind, roots(paths or ()), "" if bucket == kind else bucket, tuple(patterns or ()), target)


class _Call:
    """One call, from what it says to what became of it."""

    def __init__(
        self, wish: Wish, strategy: SyncStrategy | None, known: Callable[[Folders], Folders], *, dry_run: bool
    ) -> None:
        self._wish = wish
        self._strategy = strategy
        self._known = known
        self.dry_run = dry_run or (strategy is not None and strategy.dry_run)
        self.policy = Policy()

    def _target(self) -> tuple[Config, Folders]:
        """The configuration, and the target as the call wants it. Blocks."""
        config = load(Path(), env=os.environ)
        spec = self._known(find(config, self._wish))
        if self._strategy is not None:
            return config, self._strategy.applied(spec)
        return config, spec if spec.name in config.targets else SyncStrategy().applied(spec)

    async def result(self, form: Callable[..., R]) -> R:
        """Look, and carry it out unless it is a dry run."""
        config, spec = await anyio.to_thread.run_sync(self._target)
        self.policy = spec.policy
        command = f"sync.{self._wish.kind}()"
        try:
            async with Engine(config) as engine:
                if self.dry_run:
                    report = Report(await engine.plan(spec), Ending.DECLINED)
                else:
                    report = await engine.run(spec, command=command)
        except (StoreError, ExceptionGroup) as error:
            return form(errors=[str(leaf) for leaf in _failures(error)])
        return form(**_told(report, dry_run=self.dry_run))


def _failures(error: Exception) -> Iterable[StoreError]:
    """What sides refused; anything else is raised."""
    if isinstance(error, StoreError):
        yield error
    elif isinstance(error, ExceptionGroup):
        for inner in error.exceptions:
            yield from _failures(inner)
    else:
        raise error


def _finished(result: R, call: _Call) -> R:
    """The result, or the error that MANUAL promises; everything else is done by then."""
    if result.unresolved and call.policy.conflict is Conflict.MANUAL and not call.dry_run:
        raise _undecided(result)
    return result


def _undecided(result: SyncResult) -> ConflictError:
    paths = ", ".join(conflict["path"] for conflict in result.unresolved[:5])
    return ConflictError(
        "Manual conflict resolution required", why=paths, attempt="trueup conflicts, or another strategy", result=result
    )


# -- from reports to results ------------------------------------------------------------------------------------------


def _told(report: Report, *, dry_run: bool) -> dict[str, Any]:
    """The fields that all results have."""
    plan = report.plan
    outcomes = {outcome.step: outcome for outcome in report.outcomes}
    told = _Told([], [], [], [], [])
    for side, observed in plan.observed.items():
        if not observed.complete:
            told.errors.append(f"{side}: {observed.why or 'the listing broke off'}")
    for item in plan.items:
        conflict = _conflict(item)
        if conflict is not None:
            told.conflicts.append(conflict)
        if item.phase is Phase.AFTER or item.is_change:
            bad = [o for step in item.steps if (o := outcomes.get(step.id)) and o.status is not Status.DONE]
            if bad and not dry_run:
                told.errors.append(f"{item.key}: {next((o.why for o in bad if o.why), bad[0].status.value)}")
            else:
                told.synced_items.extend(map(_said, _principal(item)))
                told.backed_up.extend(_backups(item, outcomes))
        elif item.standing in (Standing.UNKNOWN, Standing.DAMAGED):
            told.errors.append(_located(item))
        elif conflict is None and item.reason not in _SILENT:
            told.skipped.append(f"{item.key}: {item.why or item.reason}")
    return {**told.__dict__, "report": report}


@dataclass
class _Told:
    synced_items: list[str]
    conflicts: list[dict[str, Any]]
    errors: list[str]
    skipped: list[str]
    backed_up: list[str]


def _located(item: Item) -> str:
    """``path: local: line 3, column 5: ...``."""
    unknown = [f"{side}: {seen.why}" for side, seen in item.seen.items() if isinstance(seen, Unknown | Damaged)]
    return f"{item.key}: {item.why or '; '.join(unknown) or item.reason}"


def _principal(item: Item) -> list[Step]:
    """The steps that say what happens to an item's own name; folders are not worth a word."""
    quiet = (Verb.SAVE, Verb.SIBLING, Verb.ADOPT, Verb.ACT)
    return [step for step in item.steps if step.verb not in quiet and not is_directory(step.key)]


def _said(step: Step) -> str:
    match step.verb:
        case Verb.DELETE:
            return f"DELETE {step.side}: {step.key}"
        case Verb.MOVE if step.value is not None:
            return f"MOVE {step.side}: {step.value.key} -> {step.key}"
        case _:
            return f"{'PULL' if step.side == LOCAL else 'PUSH'}: {step.key}"


def _conflict(item: Item) -> dict[str, Any] | None:
    """What both sides changed, with how it was settled; None if they did not."""
    both = all(item.side(side) is not None for side in (LOCAL, REMOTE))
    if item.reason not in _SETTLED | _OPEN and not (item.reason in _LEFT and both):
        return None
    times = {side: seen.modified_ns for side in (LOCAL, REMOTE) if isinstance(seen := item.side(side), Entry)}
    return {
        "path": str(item.key),
        "local_mtime": times[LOCAL] / 1e9 if times.get(LOCAL) else None,
        "remote_mtime": times[REMOTE] / 1e9 if times.get(REMOTE) else None,
        "reason": str(item.reason),
    }


def _backups(item: Item, outcomes: dict[str, Any]) -> Iterable[str]:
    """Where the losers of a conflict are."""
    for step in item.steps:
        if step.verb is Verb.SIBLING:
            yield f"{step.side}: {step.key}"
        elif item.reason in _SETTLED and step.verb is Verb.SAVE:
            outcome = outcomes.get(step.id)
            yield f"{step.side}: {outcome.kept if outcome is not None and outcome.kept else step.key}"


def _changed(result: SyncResult) -> Iterable[Step]:
    """Steps that were carried out, or would be."""
    return _done(result.report) if result.report is not None else ()


def _done(report: Report) -> Iterable[Step]:
    plan: Plan = report.plan
    done = {outcome.step for outcome in report.outcomes if outcome.status is Status.DONE}
    for item in plan.changes:
        for step in _principal(item):
            if step.id in done or report.ending is Ending.DECLINED:
                yield step


def _acts(result: SyncResult, name: str) -> list[dict[str, Any]]:
    """What was done by the after-steps of that name, or would be."""
    report = result.report
    if report is None:
        return []
    done = {outcome.step for outcome in report.outcomes if outcome.status is Status.DONE}
    return [
        step.record.fields
        for item in report.plan.items
        for step in item.steps
        if step.verb is Verb.ACT and step.record is not None and step.record.fields.get("act") == name
        if step.id in done or report.ending is Ending.DECLINED
    ]
