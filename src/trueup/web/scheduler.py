"""Begin what is due. A run that a schedule begins never takes payload away: what deletes waits for a person."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from trueup.core.errors import TrueupError
from trueup.engine.ambient import Ambient
from trueup.engine.schedules import Schedule, Schedules
from trueup.web.asked import Action, Asked
from trueup.web.problems import Problem, problem_of
from trueup.web.runs import Runs
from trueup.web.targets import Named

LOOK_SECONDS = 10.0
"""How often it is looked whether something is due: others may add schedules, and clocks are set."""

Find = Callable[[str], Awaitable[Named]]
"""The target of an id."""

logger = logging.getLogger("trueup.web")


class Scheduler:
    """Looks now and then, and begins what is due.

    Args:
        schedules: Those that there are.
        runs: Begins runs.
        find: The target of an id.
        ambient: Clock and threads.
    """

    def __init__(self, schedules: Schedules, runs: Runs, find: Find, ambient: Ambient) -> None:
        self._schedules = schedules
        self._runs = runs
        self._find = find
        self._ambient = ambient

    async def serve(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except TrueupError:
                logger.exception("the schedules could not be looked at")
            await self._ambient.clock.sleep(LOOK_SECONDS)

    async def look(self) -> list[str]:
        """Begin everything that is due now. Returns the ids of the runs."""
        now_ns = self._ambient.clock.now_ns()
        begun = []
        for schedule in await self._ambient.threads(self._schedules.listed):
            try:
                due = schedule.next_ns() <= now_ns
            except TrueupError:  # a time zone that this machine does not know any more
                logger.exception("schedule %s", schedule.name)
                continue
            if due:
                run, skipped = await self._begin(schedule)
                begun += [run] if run is not None else []
                await self._ambient.threads(self._schedules.done, schedule.name, now_ns, run, skipped)
        return begun

    async def _begin(self, schedule: Schedule) -> tuple[str | None, str | None]:
        """The run, or why there is none: the target has one under way, or is no more."""
        asked = Asked(action=Action.SYNC if schedule.apply else Action.PLAN)
        try:
            live = await self._runs.begin(await self._find(schedule.target), asked, f"schedule {schedule.name}")
        except (Problem, TrueupError) as error:
            return None, str(problem_of(error).document["title"])
        return live.run.id, None
