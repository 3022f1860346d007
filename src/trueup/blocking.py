"""The Python API for programs without an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

from anyio.from_thread import BlockingPortal, start_blocking_portal

from trueup.api import Engine, Pruned, RunRecord, RunSummary, Select, TrashItem, yes
from trueup.config import Config
from trueup.core.check import Guard
from trueup.core.errors import UsageError
from trueup.core.model import LOCAL, Key, Side
from trueup.core.plan import Plan
from trueup.core.report import Report
from trueup.core.strategy import Conflict
from trueup.engine.doctor import Diagnosis
from trueup.engine.job import Progress
from trueup.targets import Spec


class BlockingEngine:
    """`trueup.api.Engine`, one call after the other: ``with BlockingEngine(config) as engine``.

    Args:
        config: What `trueup.config.load` found; None: ad hoc targets only.
        state_dir: Where to remember; default: the configuration's.
        on_progress: Is called, in another thread, for everything that happens.

    Raises:
        UsageError: If an event loop runs in the calling thread; it would stand still.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        state_dir: Path | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        _refuse_inside_loop()
        self._engine = Engine(config, state_dir=state_dir, on_progress=on_progress)
        self._opening: AbstractContextManager[BlockingPortal] | None = None
        self._portal: BlockingPortal | None = None

    def __enter__(self) -> Self:
        """Start the event loop, in a thread of its own."""
        self._opening = start_blocking_portal()
        self._portal = self._opening.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the engine, end the event loop."""
        if self._opening is None:
            return
        try:
            self._call(self._engine.__aexit__, kind, error, trace)
        finally:
            opening, self._opening, self._portal = self._opening, None, None
            opening.__exit__(kind, error, trace)

    def _call(self, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
        _refuse_inside_loop()
        if self._portal is None:
            raise UsageError("the engine is closed", attempt="with BlockingEngine() as engine: ...")
        return self._portal.call(partial(method, *args, **options))

    def plan(
        self,
        target: str | Spec,
        *,
        verify: bool = False,
        resolve: Mapping[Key, Conflict] = MappingProxyType({}),
        select: Select | None = None,
    ) -> Plan:
        """As `trueup.api.Engine.plan`."""
        plan: Plan = self._call(self._engine.plan, target, verify=verify, resolve=resolve, select=select)
        return plan

    def run(
        self,
        target: str | Spec,
        *,
        confirm: Callable[[Plan], bool] | None = None,
        allow: Iterable[Guard] = (),
        resolve: Mapping[Key, Conflict] = MappingProxyType({}),
        select: Select | None = None,
    ) -> Report:
        """As `trueup.api.Engine.run`; `confirm` blocks."""
        report: Report = self._call(
            self._engine.run, target, confirm=_asked(confirm), allow=tuple(allow), resolve=resolve, select=select
        )
        return report

    def apply(
        self, plan: Plan, *, select: Select | None = None, allow: Iterable[Guard] = (), skip_stale: bool = False
    ) -> Report:
        """As `trueup.api.Engine.apply`."""
        report: Report = self._call(self._engine.apply, plan, select=select, allow=tuple(allow), skip_stale=skip_stale)
        return report

    def undo(
        self, run_name: str, *, confirm: Callable[[Plan], bool] | None = None, allow: Iterable[Guard] = ()
    ) -> Report:
        """As `trueup.api.Engine.undo`; `confirm` blocks."""
        report: Report = self._call(self._engine.undo, run_name, confirm=_asked(confirm), allow=tuple(allow))
        return report

    def history(self, *, target: str | Spec | None = None, limit: int = 50) -> list[RunSummary]:
        """As `trueup.api.Engine.history`."""
        runs: list[RunSummary] = self._call(self._engine.history, target=target, limit=limit)
        return runs

    def record(self, run_name: str) -> RunRecord:
        """As `trueup.api.Engine.record`."""
        record: RunRecord = self._call(self._engine.record, run_name)
        return record

    def trash(self, target: str | Spec) -> list[TrashItem]:
        """As `trueup.api.Engine.trash`."""
        items: list[TrashItem] = self._call(self._engine.trash, target)
        return items

    def restore(self, target: str | Spec, handle: str, *, side: Side = LOCAL, to: Path | None = None) -> None:
        """As `trueup.api.Engine.restore`."""
        self._call(self._engine.restore, target, handle, side=side, to=to)

    def prune(
        self,
        target: str | Spec,
        *,
        older_than_seconds: float | None = None,
        run_name: str | None = None,
        last_copies: bool = False,
        dry_run: bool = False,
    ) -> Pruned:
        """As `trueup.api.Engine.prune`."""
        pruned: Pruned = self._call(
            self._engine.prune,
            target,
            older_than_seconds=older_than_seconds,
            run_name=run_name,
            last_copies=last_copies,
            dry_run=dry_run,
        )
        return pruned

    def doctor(self, target: str | Spec | None = None) -> list[Diagnosis]:
        """As `trueup.api.Engine.doctor`."""
        found: list[Diagnosis] = self._call(self._engine.doctor, target)
        return found


def _asked(confirm: Callable[[Plan], bool] | None) -> Callable[[Plan], Any]:
    if confirm is None:
        return yes

    async def ask(plan: Plan) -> bool:
        from anyio.to_thread import run_sync

        return await run_sync(confirm, plan)

    return ask


def _refuse_inside_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError(
        "the blocking API would stop the event loop that runs here",
        attempt="async with trueup.Engine(...) as engine: await engine.run(...)",
    )
