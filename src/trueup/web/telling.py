"""Tell places how a target stands, when it stands otherwise than they have heard."""

from __future__ import annotations

import logging

from trueup.api.notices import notify
from trueup.config.sections import Notify
from trueup.core.errors import TrueupError
from trueup.engine.ambient import Ambient
from trueup.engine.schedules import Schedules
from trueup.engine.served import ServedRun, Stage

GOOD = "good"
_STANDINGS = {
    Stage.SUCCEEDED: GOOD,
    Stage.PLANNED: GOOD,
    Stage.AWAITING_APPROVAL: "waits",
    Stage.PARTIAL: "partial",
    Stage.FAILED: "failing",
    Stage.REFUSED: "refused",
    Stage.INTERRUPTED: "interrupted",
}
"""What a run says of its target; one that was cancelled says nothing."""
_WORDS = {
    GOOD: "is in agreement again",
    "waits": "has changes that wait for an approval",
    "partial": "was synced in part",
    "failing": "could not be synced",
    "refused": "was not synced: a guard or a stale plan",
    "interrupted": "was interrupted",
}

logger = logging.getLogger("trueup.web")


class Teller:
    """Hears of runs that have ended, and tells each change once.

    Args:
        places: Where it is told.
        schedules: Remembers what was told.
        ambient: Clock and threads.
    """

    def __init__(self, places: list[Notify], schedules: Schedules, ambient: Ambient) -> None:
        self._places = places
        self._schedules = schedules
        self._ambient = ambient

    async def ended(self, run: ServedRun) -> None:
        """A run has ended, or waits. What cannot be delivered is tried again after the next one."""
        standing = _STANDINGS.get(run.state)
        for place in self._places if standing is not None else ():
            if not place.targets or run.target in place.targets:
                await self._tell(place, run, str(standing))

    async def _tell(self, place: Notify, run: ServedRun, standing: str) -> None:
        before = await self._ambient.threads(self._schedules.told, place.name, run.target)
        if standing == (before or GOOD):
            return
        fields = {
            "text": f"{run.target} {_WORDS[standing]}",
            "target": run.target,
            "standing": standing,
            "before": before or GOOD,
            "run": run.id,
            "who": run.who,
            "result": None if run.result is None else {k: v for k, v in run.result.items() if k != "failures"},
            "error": None if run.error is None else run.error.get("code"),
        }
        try:
            await notify(place, fields, self._ambient)
        except TrueupError as error:
            logger.warning("%s", error)
        else:
            await self._ambient.threads(self._schedules.tell, place.name, run.target, standing)
