"""What is asked of a target, carried out by `trueup.api`, for every kind of target.

Most kinds plan, and apply that plan later. What a cache holds and what providers list is looked at anew when it is
applied; the plan is carried out if it came out as it was approved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trueup.api import Confirm, Engine
from trueup.api.catalogues import Survey
from trueup.core.check import Guard
from trueup.core.errors import StalePlan, UsageError
from trueup.core.model import Key
from trueup.core.plan import Item, Plan
from trueup.core.report import Ending, Report
from trueup.core.table import Verb
from trueup.targets import Caches, Models, Spec
from trueup.web.asked import Action, Asked

Select = Callable[[Item], bool] | None


@dataclass(slots=True)
class Work:
    """One request for one target, with an engine of its own.

    Args:
        engine: Open.
        spec: The target.
        asked: What is asked for.
        command: What the history says.
    """

    engine: Engine
    spec: Spec
    asked: Asked
    command: str

    async def plan(self) -> Plan:
        """What would be done. Nothing is."""
        spec, asked = self.spec, self.asked
        if isinstance(spec, Caches):
            shown: list[Plan] = []

            async def refuse(plan: Plan) -> bool:
                shown.append(plan)
                return False

            report = await self._cache(spec, refuse)
            return shown[0] if shown else report.plan
        if isinstance(spec, Models):
            survey = await self._survey()
            return await self.engine.plan(survey.spec)
        return await self.engine.plan(
            spec, verify=asked.verify, glance=asked.glance, resolve=self._resolve, select=self._resolved
        )

    async def run(self, confirm: Confirm, *, select: Select = None) -> Report:
        """Plan, show it to `confirm`, carry it out."""
        spec, asked = self.spec, self.asked
        if isinstance(spec, Caches):
            return await self._cache(spec, confirm)
        if isinstance(spec, Models):
            return await self._models(confirm, select)
        return await self.engine.run(
            spec,
            confirm=confirm,
            allow=asked.allow,
            resolve=self._resolve,
            select=select or self._resolved,
            command=self.command,
        )

    async def apply(self, plan: Plan, confirm: Confirm, *, select: Select) -> Report:
        """Carry out a plan that was made before.

        Raises:
            StalePlan: If it no longer matches what is there; nothing was done.
        """
        if not isinstance(self.spec, Caches | Models):
            return await self.engine.apply(
                plan,
                select=select,
                allow=self.asked.allow,
                skip_stale=self.asked.skip_stale,
                confirm=confirm,
                command=self.command,
            )

        async def as_approved(found: Plan) -> bool:
            wanted = {item.key: shape(item) for item in plan.changes if select is None or select(item)}
            _refuse_others({item.key: shape(item) for item in found.changes}, wanted)
            return await confirm(found)

        return await self.run(as_approved, select=select)

    async def resume(self, plan: Plan, confirm: Confirm, *, select: Select) -> Report:
        """Carry out what is left of a plan whose run was interrupted.

        What is there is looked at anew: what had been done is seen to be done, and what is left has to be as it was
        approved.

        Raises:
            StalePlan: If something else would be done by now; nothing was done.
        """
        wanted = {item.key: shape(item) for item in plan.changes if select is None or select(item)}

        async def as_approved(found: Plan) -> bool:
            left = {item.key: shape(item) for item in found.changes}
            _refuse_others(left, {key: wanted[key] for key in left})
            return await confirm(found)

        return await self.run(as_approved, select=lambda item: item.key in wanted)

    @property
    def _resolve(self) -> dict[Key, Any]:
        return {Key(key): strategy for key, strategy in self.asked.resolve.items()}

    @property
    def _resolved(self) -> Select:
        """Only what a person has decided about, where that is what was asked for."""
        if self.asked.action is not Action.RESOLVE:
            return None
        keys = tuple(self.asked.resolve)
        return lambda item: any(item.key == key or item.key.startswith(f"{key}/") for key in keys)

    async def _cache(self, spec: Caches, confirm: Confirm) -> Report:
        from trueup.api.caching import Operation, Request

        try:
            operation = Operation(self.asked.operation or Operation.REFRESH)
        except ValueError as error:
            raise UsageError(
                f"there is no operation {self.asked.operation}", why=f"there are {', '.join(Operation)}"
            ) from error
        request = Request(operation, self.asked.namespaces)
        report = await self.engine.cache(spec, request, confirm=confirm, command=self.command)
        if report.report is None:
            raise UsageError("the cache had nothing to say")
        return report.report

    async def _models(self, confirm: Confirm, select: Select) -> Report:
        catalogue = self.engine.models()
        survey = await self._survey()
        after_n = await catalogue.last_change()
        # An emptied side is the business of the catalogue's own guards, each account by itself.
        allow = (Guard.EMPTIED, *self.asked.allow)
        report = await self.engine.run(survey.spec, confirm=confirm, allow=allow, select=select, command=self.command)
        if report.ending is not Ending.DECLINED:
            await catalogue.remember(survey, report)
            await catalogue.tell(survey, after_n=after_n)
        return report

    async def _survey(self) -> Survey:
        survey = await self.engine.models().survey(self.asked.providers, force=self.asked.force)
        if not survey.answers:
            raise UsageError("no provider is available", why="none has credentials", attempt="trueup models providers")
        return survey


def shape(item: Item) -> tuple[object, ...]:
    """What about an item a person has approved."""
    return (item.reason, item.why, tuple((step.verb, step.side, step.key) for step in item.steps))


def _refuse_others(found: dict[Key, tuple[object, ...]], wanted: dict[Key, tuple[object, ...]]) -> None:
    changed: dict[str, str] = {
        key: "it would be done otherwise by now" if key in found and key in wanted else "it is another change by now"
        for key in sorted(found.keys() | wanted.keys())
        if found.get(key) != wanted.get(key)
    }
    if changed:
        raise StalePlan(
            f"{len(changed)} changes are no longer as they were approved, nothing was done",
            attempt="make a new plan",
            changed=changed,
        )


def deletes(plan: Plan) -> bool:
    """Whether carrying it out takes payload away: a deletion, or a version that ceases to exist."""
    return plan.destroys > 0 or any(step.verb is Verb.DELETE for item in plan.changes for step in item.steps)
