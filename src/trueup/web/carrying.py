"""One run, from what was asked to how it ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, assert_never

from trueup.api import Engine
from trueup.api.datasets import comprehensive_sync
from trueup.core.errors import UsageError
from trueup.core.plan import Plan
from trueup.core.report import EXIT_FAILED, EXIT_OK, Ending, Report, Status
from trueup.engine.ambient import Ambient
from trueup.engine.served import Ledger, Stage
from trueup.targets.datasets import Datasets
from trueup.web.asked import Action, Selection
from trueup.web.problems import Problem
from trueup.web.summaries import failures, plan_summary, report_summary
from trueup.web.work import Select, Work, deletes

if TYPE_CHECKING:
    from trueup.web.runs import Live

MOST_TOLD = 200
"""Failures that a run's result lists; the history has all."""

Keep = Callable[..., Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended."""

    stage: Stage
    history: str | None = None
    result: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None


class Carrying:
    """Carries out what was asked.

    Args:
        engine: Open, for this run alone.
        ledger: Where plans are kept.
        ambient: Threads and names.
        live: The run.
        keep: Remembers and tells how it stands.
    """

    def __init__(self, engine: Engine, ledger: Ledger, ambient: Ambient, live: Live, keep: Keep) -> None:
        self._engine = engine
        self._ledger = ledger
        self._ambient = ambient
        self._live = live
        self._keep = keep
        self._asked = live.asked
        self._work = Work(engine, live.named.spec, live.asked, f"server: {live.asked.action.value} by {live.run.who}")
        self._waits = False

    async def run(self) -> Ended:
        """Do it."""
        match self._asked.action:
            case Action.PLAN:
                return await self._plan()
            case Action.SYNC | Action.RESOLVE:
                return await self._reported(await self._work.run(self._confirm))
            case Action.APPLY:
                return await self._apply()
            case Action.UNDO:
                return await self._undo()
            case Action.TRAINING:
                return await self._train()
            case _:
                assert_never(self._asked.action)

    async def _plan(self) -> Ended:
        if self._asked.undoes:
            shown: list[Plan] = []

            async def refuse(plan: Plan) -> bool:
                shown.append(plan)
                return False

            plan = (await self._engine.undo(self._asked.undoes, confirm=refuse)).plan
        else:
            plan = await self._work.plan()
        await self._save(plan)
        return Ended(Stage.AWAITING_APPROVAL if plan.changes and not self._asked.undoes else Stage.PLANNED)

    async def _apply(self) -> Ended:
        if self._live.run.plan is None:
            raise UsageError("there is no plan to apply")
        plan = await self._ambient.threads(self._ledger.plan, self._live.run.plan)
        select = await self._selected(self._live.run.plan, plan)
        carry_out = self._work.resume if self._asked.resumed else self._work.apply
        report = await carry_out(plan, self._confirm, select=select)
        done = int(report_summary(report)["changes_done"])
        await self._ambient.threads(self._ledger.applied, self._live.run.plan, done)
        return await self._reported(report)

    async def _selected(self, plan_id: str, plan: Plan) -> Select:
        """Which changes are wanted, by what was asked with the approval, else by what is kept with the plan."""
        selection = self._asked.select
        if selection is None:
            selection = await self._ambient.threads(self._kept_selection, plan_id)
        if selection == Selection():
            return None
        rows = await self._ambient.threads(self._ledger.rows, plan_id)
        wanted = {plan.items[n].key for n in selection.chosen(rows)}
        return lambda item: item.key in wanted

    def _kept_selection(self, plan_id: str) -> Selection:
        saved = self._ledger.saved(plan_id)
        return Selection() if saved is None else Selection.model_validate(saved.selection)

    async def _undo(self) -> Ended:
        report = await self._engine.undo(
            self._asked.undoes, confirm=self._confirm, allow=self._asked.allow, command=self._work.command
        )
        return await self._reported(report)

    async def _train(self) -> Ended:
        spec = self._live.named.spec
        if not isinstance(spec, Datasets):
            raise UsageError(f"{spec.name} is no dataset")
        spec = replace(spec, delete_orphans=self._asked.delete_orphans)
        reports: list[Report] = []
        synced = await comprehensive_sync(self._engine, spec, dry_run=self._asked.dry_run, told=reports.append)
        self._live.answer = synced.document
        history = await self._trained(reports)
        done = sum(count for count in synced.document.values() if isinstance(count, int))
        stage = Stage.SUCCEEDED if not synced.errors else Stage.PARTIAL if done else Stage.FAILED
        if self._asked.dry_run:
            stage = Stage.PLANNED
        return Ended(stage, history, {"synced": synced.document})

    async def _trained(self, reports: Sequence[Report]) -> str | None:
        """Keep the plan of the last pass, and count what was done of it. Returns its run of the history."""
        if not reports:
            return None
        await self._save(reports[-1].plan)
        if self._live.run.plan is not None:
            done = int(report_summary(reports[-1])["changes_done"])
            await self._ambient.threads(self._ledger.applied, self._live.run.plan, done)
        return reports[-1].run

    # -- approval ------------------------------------------------------------------------------------------------

    async def _confirm(self, plan: Plan) -> bool:
        """As `trueup.api.Confirm`: what takes payload away needs an approval that covers it."""
        if self._asked.action is not Action.APPLY:
            await self._save(plan)
        if deletes(plan) and not self._asked.may_delete and not self._asked.undoes:
            if self._asked.action is not Action.SYNC:
                raise Problem(
                    403, "TU-SCOPE", "this deletes, and the token may not", hint="a token with the scope delete"
                )
            self._waits = True
            return False
        if plan.changes:
            await self._keep(self._live, Stage.APPLYING)
            self._live.begun.set()
        return True

    async def _save(self, plan: Plan) -> None:
        plan_id = f"p{self._ambient.run_id()}"
        summary = plan_summary(plan, verified=self._asked.verify) | {"asked": self._asked.document}
        await self._ambient.threads(self._save_plan, plan_id, plan, summary)
        await self._keep(self._live, self._live.run.state, plan=plan_id)

    def _save_plan(self, plan_id: str, plan: Plan, summary: Mapping[str, Any]) -> None:
        whole = self._asked.action is not Action.RESOLVE and not self._asked.undoes
        self._ledger.keep(plan_id, self._live.named.id, plan, summary, whole=whole)

    # -- the end -------------------------------------------------------------------------------------------------

    async def _reported(self, report: Report) -> Ended:
        if self._waits:
            return Ended(Stage.AWAITING_APPROVAL)
        if self._live.run.plan is None:
            await self._save(report.plan)
        elif self._asked.action is not Action.APPLY:
            done = int(report_summary(report)["changes_done"])
            await self._ambient.threads(self._ledger.applied, self._live.run.plan, done)
        told = failures(report)
        result = report_summary(report) | {"failures": told[:MOST_TOLD], "more_failures": max(0, len(told) - MOST_TOLD)}
        return Ended(self._stage(report), report.run, result)

    def _stage(self, report: Report) -> Stage:
        """Of an approved plan its own steps decide; of a whole sync also what it leaves open."""
        if report.ending is Ending.INTERRUPTED:
            return Stage.INTERRUPTED
        counts = report.counts
        if counts[Status.DONE] < len(report.outcomes):
            return Stage.PARTIAL if counts[Status.DONE] or counts[Status.CHANGED] else Stage.FAILED
        if self._asked.resumed and (report.plan.conflicts or report.plan.unknown):
            return Stage.PARTIAL  # some of what was approved cannot be done any more
        if self._asked.action is not Action.SYNC:
            return Stage.SUCCEEDED
        code = int(report_summary(report)["exit_code"])
        if code == EXIT_FAILED and not report.outcomes:
            return Stage.FAILED
        return Stage.SUCCEEDED if code == EXIT_OK else Stage.PARTIAL
