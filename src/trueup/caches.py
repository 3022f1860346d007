"""Caches from programs: refresh, invalidate, warm and clear namespaces of an application's keys.

``cache_sync`` is what ``sync.cache`` calls. What is taken out of a cache cannot be brought back; the run is in the
history all the same.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, Self

import anyio

from trueup.api import Engine, yes
from trueup.api.caching import CacheReport, Operation, Request, Stats, never
from trueup.config import Config, load
from trueup.core.errors import StoreError, TimedOut, TrueupError, UsageError
from trueup.core.report import EXIT_FAILED, EXIT_OK, EXIT_PARTIAL
from trueup.stores.cache.engines import register
from trueup.stores.cache.templates import checked, load_environment
from trueup.targets import Caches

__all__ = ["CacheSyncResult", "Strategy", "cache_stats", "cache_sync", "register"]

NAMESPACES = ("templates", "bccache", "responses")
"""Those that are meant where FastBlocks' preset is used and none is named."""


class Strategy(Protocol):
    """What of a strategy means something for a cache."""

    @property
    def dry_run(self) -> bool:
        """Whether to say only what would be done."""
        ...

    @property
    def timeout(self) -> float | None:
        """Seconds for the whole operation; None: no limit."""
        ...


@dataclass(slots=True)
class CacheSyncResult:
    """What became of an operation; in a dry run, what would."""

    invalidated_keys: list[str] = field(default_factory=list)
    """The real names of all keys that were deleted."""
    warmed_keys: list[str] = field(default_factory=list)
    """Keys of compiled templates, and URLs that were asked for."""
    cleared_namespaces: list[str] = field(default_factory=list)
    synced_items: list[str] = field(default_factory=list)
    """What was done, one sentence for each namespace."""
    conflicts: list[dict[str, Any]] = field(default_factory=list)
    """Always empty: nothing in a cache can be in conflict."""
    errors: list[Exception] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """What was not done, and why; what was found out on the way."""
    backed_up: list[str] = field(default_factory=list)
    """Always empty: nothing of a cache is kept."""

    @property
    def total_processed(self) -> int:
        """Everything that is listed."""
        return len(self.synced_items) + len(self.conflicts) + len(self.errors) + len(self.skipped)

    @property
    def success_count(self) -> int:
        """How much was done."""
        return len(self.synced_items)

    @property
    def has_conflicts(self) -> bool:
        """Whether something waits for a person."""
        return bool(self.conflicts)

    @property
    def has_errors(self) -> bool:
        """Whether something failed."""
        return bool(self.errors)

    @property
    def is_success(self) -> bool:
        """Whether all was done."""
        return not self.errors and not self.conflicts

    ok = is_success

    @property
    def partial(self) -> bool:
        """Whether some of it was done and some not."""
        return self.has_errors and bool(self.synced_items)

    @property
    def exit_code(self) -> int:
        """That of the command line for the same."""
        if not self.errors:
            return EXIT_OK
        return EXIT_PARTIAL if self.partial else EXIT_FAILED

    def raise_for_status(self) -> Self:
        """The result itself.

        Raises:
            StoreError: If anything failed.
        """
        if self.errors:
            why = "; ".join(map(str, self.errors[:5]))
            raise StoreError("not all of the cache is as it was to be", why=why) from self.errors[0]
        return self


async def cache_sync(
    *,
    operation: str = "refresh",
    namespaces: Sequence[str] | None = None,
    keys: Sequence[str] | None = None,
    warm_templates: bool = True,
    strategy: Strategy | None = None,
    target: str | Caches | None = None,
    environment: Any = None,
    config: Config | None = None,
    state_dir: Path | None = None,
) -> CacheSyncResult:
    """Bring a cache up to date.

    Args:
        operation: ``refresh`` (invalidate what has changed, then warm), ``invalidate``, ``warm`` or ``clear``.
        namespaces: Which; None: ``templates bccache responses``, or all where the preset has other ones, or none
            where keys are named.
        keys: Single keys. A key that is not of the target's application is refused.
        warm_templates: Whether templates are compiled after an invalidation.
        strategy: ``dry_run`` and ``timeout`` count.
        target: A configured target's name, or a target; None: the only one of kind ``cache`` that is configured,
            else ``memory://default`` in this process.
        environment: A Jinja environment, or ``module:attribute``, in place of the target's own.
        config: What is configured; None: what is found from the working directory upwards.
        state_dir: Where to remember; None: the configuration's.

    Returns:
        What was done. An engine that is down and a template that is no good are in ``errors``; what was done before
        is listed.

    Raises:
        UsageError: If the request makes no sense: an unknown operation, namespace or target, another's key.
    """
    if operation not in {one.value for one in Operation}:
        raise UsageError(f"there is no operation {operation}", why=f"there are {', '.join(Operation)}")
    known = config or await anyio.to_thread.run_sync(_configured)
    async with Engine(known, state_dir=state_dir) as engine:
        spec = await _spec(engine.targets, target, environment)
        chosen = _namespaces(spec, namespaces, keys)
        request = Request(Operation(operation), chosen, tuple(keys or ()), warm_templates)
        report, errors = CacheReport(), list[Exception]()
        dry_run = strategy is not None and strategy.dry_run
        with anyio.move_on_after(strategy.timeout if strategy is not None else None) as scope:
            try:
                await engine.cache(spec, request, into=report, confirm=never if dry_run else yes)
            except* TrueupError as group:
                errors += _leaves(group)
        if refused := [error for error in errors if isinstance(error, UsageError)]:
            raise refused[0]
        if scope.cancelled_caught:
            errors.append(TimedOut(f"{operation} took longer than the strategy's timeout; what was done is listed"))
        return _result(report, request, errors, dry_run=dry_run)


async def cache_stats(
    *,
    namespaces: Sequence[str] | None = None,
    target: str | Caches | None = None,
    config: Config | None = None,
    state_dir: Path | None = None,
) -> Mapping[str, Stats]:
    """Keys and bytes by namespace, and the hit rate of the server where it counts.

    Args:
        namespaces: Which; None: all.
        target: As `cache_sync`.
        config: As `cache_sync`.
        state_dir: As `cache_sync`.

    Raises:
        UsageError: If there is no such target, or no such namespace.
        StoreError: If the cache cannot be looked at.
    """
    known = config or await anyio.to_thread.run_sync(_configured)
    async with Engine(known, state_dir=state_dir) as engine:
        spec = await _spec(engine.targets, target, None)
        return await engine.cache_stats(replace(spec, namespaces=tuple(namespaces or ())))


def _configured() -> Config:
    return load(Path.cwd(), env=os.environ)


async def _spec(targets: Mapping[str, object], target: str | Caches | None, environment: Any) -> Caches:
    if isinstance(target, Caches):
        spec: object = target
    elif target is not None:
        if target not in targets:
            raise UsageError(f"there is no target {target}", attempt="trueup status")
        spec = targets[target]
    else:
        found = [one for one in targets.values() if isinstance(one, Caches)]
        if len(found) > 1:
            raise UsageError("which cache?", why=f"there are {', '.join(one.name for one in found)}")
        spec = found[0] if found else Caches(app="app")
    if not isinstance(spec, Caches):
        raise UsageError(f"{target} is no cache", why="its kind is another one")
    if environment is None:
        return spec
    if isinstance(environment, str):
        environment = await anyio.to_thread.run_sync(load_environment, environment, None)
    good = checked(environment)
    return replace(spec, environment=lambda: good)


def _namespaces(spec: Caches, asked: Sequence[str] | None, keys: Sequence[str] | None) -> tuple[str, ...]:
    if asked is not None or keys:
        return tuple(asked or ())
    return NAMESPACES if spec.preset == "fastblocks" else ()


def _leaves(group: BaseExceptionGroup[TrueupError]) -> list[TrueupError]:
    found: list[TrueupError] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def _result(report: CacheReport, request: Request, errors: Sequence[Exception], *, dry_run: bool) -> CacheSyncResult:
    deleted = {name: report.removed[name].keys for name in report.planned if name in report.removed}
    if dry_run:
        deleted = report.planned
    warmed = [name for names in report.to_warm.values() for name in names] if dry_run else report.warmed
    all_errors = [*errors, *report.failed]
    clear = request.operation is Operation.CLEAR
    broken = {error for error in all_errors if isinstance(error, StoreError)}
    would = "would delete" if dry_run else "deleted"
    done = [f"{name}: {would} {len(keys)} keys" for name, keys in deleted.items() if keys]
    if warmed:
        done.append(f"{'would warm' if dry_run else 'warmed'} {len(warmed)}")
    return CacheSyncResult(
        invalidated_keys=list(dict.fromkeys(key for keys in deleted.values() for key in keys)),
        warmed_keys=list(warmed),
        cleared_namespaces=list(report.planned) if clear and not broken else [],
        synced_items=done,
        errors=all_errors,
        skipped=list(report.notes),
    )
