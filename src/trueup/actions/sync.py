"""``sync.templates() settings() static() cache()``: calls of a web team, as its documents write them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import anyio.to_thread

from trueup.actions.results import (
    SettingsSyncResult,
    StaticSyncResult,
    SyncResult,
    TemplateSyncResult,
    acts,
    changed,
    told,
    undecided,
)
from trueup.api import Engine
from trueup.api.files import Wish, find, roots
from trueup.caches import CacheSyncResult, cache_sync
from trueup.config import Config, load
from trueup.core.errors import StoreError
from trueup.core.report import Ending, Report
from trueup.core.strategy import Conflict, Deletes, Direction, Keep, Policy
from trueup.targets import Reload, Settings, Templates, settings, static, templates
from trueup.targets.folders import Folders, Tuning
from trueup.targets.settings import adapter_of, patterns_of

__all__ = [
    "CacheSyncResult",
    "ConflictStrategy",
    "SettingsSyncResult",
    "StaticSyncResult",
    "SyncDirection",
    "SyncResult",
    "SyncStrategy",
    "TemplateSyncResult",
    "sync",
]

R = TypeVar("R", bound=SyncResult)
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
        caches: Sequence[str] | None = None,
        warm: bool | None = None,
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
            environment: The application's `jinja2.Environment`, to parse and to compile with.
            bytecode: Folder of its bytecode cache.
            caches: Names of configured targets of kind ``cache``: what they hold of templates that changed, or that
                lean on those, is deleted when they are published. Default: as configured.
            warm: Whether those are compiled again, through the environment. Default: as configured.
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
            return replace(
                spec,
                nature=replace(
                    nature,
                    check=check and nature.check,
                    environment=own,
                    bytecode=place,
                    caches=nature.caches if caches is None else tuple(caches),
                    warm=nature.warm if warm is None else warm,
                ),
            )

        wish = _wish(templates.KIND, template_paths, storage_bucket, patterns, target)
        call = _Call(wish, strategy, known, dry_run=dry_run)
        result = await call.result(TemplateSyncResult)
        full = replace(
            result,
            cache_invalidated=[key for act in acts(result, "invalidate") for key in act["there"]],
            cache_warmed=[act["template"] for act in acts(result, "warm")],
            bytecode_cleared=[name for act in acts(result, "bytecode") for name in act["files"]],
        )
        return _finished(full, call)

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
        adapters = sorted({adapter_of(step.key) for step in changed(result)})
        reloaded = bool(acts(result, "reload")) and not call.dry_run
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

    async def cache(
        self,
        *,
        operation: str = "refresh",
        namespaces: Sequence[str] | None = None,
        keys: Sequence[str] | None = None,
        warm_templates: bool = True,
        strategy: SyncStrategy | None = None,
        target: str = "",
        environment: Any = None,
        dry_run: bool = False,
    ) -> CacheSyncResult:
        """Refresh, invalidate, warm or clear the keys of an application; `trueup.caches.cache_sync` is the same.

        Args:
            operation: ``refresh`` (invalidate what has changed, then warm), ``invalidate``, ``warm`` or ``clear``.
            namespaces: Which. Default: those that the document names, or all where the preset has other ones.
            keys: Single keys. A key that is not of the target's application is refused.
            warm_templates: Whether templates are compiled after an invalidation.
            strategy: ``dry_run`` counts, and ``timeout``, here for the whole operation. Default: no limit.
            target: Name of a configured target, where there are several of this kind.
            environment: The application's `jinja2.Environment`, in place of the target's own.
            dry_run: As that of the strategy; one of them is enough.

        Raises:
            UsageError: If the request makes no sense: an unknown operation, namespace or target, another's key.
        """
        if dry_run:
            strategy = replace(strategy or SyncStrategy(), dry_run=True)
        return await cache_sync(
            operation=operation,
            namespaces=namespaces,
            keys=keys,
            warm_templates=warm_templates,
            strategy=strategy,
            target=target or None,
            environment=environment,
        )


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
            return form(errors=list(_failures(error)))
        return form(**told(report, dry_run=self.dry_run))


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
        raise undecided(result)
    return result
