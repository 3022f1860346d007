"""The application reads its settings again after they were written; if it cannot, they are put back."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NoReturn, cast

from trueup.core.errors import StoreError
from trueup.core.model import LOCAL
from trueup.core.plan import Item, Phase, Plan, Step
from trueup.core.report import Report, Status
from trueup.core.table import Verb
from trueup.engine.candidates import after_step, with_left_over
from trueup.engine.job import Job
from trueup.targets.settings import Reload

RELOAD = "reload"
SECONDS = 30.0
"""Within which the application answers."""


class Reloading:
    """Plans the reload, and carries it out."""

    def __init__(self, reload: Reload, job: Job) -> None:
        self._reload = reload
        self._job = job

    async def after(self, plan: Plan, left: Sequence[Item]) -> tuple[Item, ...]:
        """As `trueup.engine.job.Job.after`: one reload behind everything that is written here.

        One that has failed is not left over: what it was to read has been taken back.
        """
        written = [
            step.id
            for item in plan.changes
            for step in item.steps
            if item.phase < Phase.AFTER and step.side == LOCAL and step.verb not in (Verb.SAVE, Verb.ADOPT)
        ]
        if not self._reload.wanted:
            return ()
        why = f"the settings are read again: {self._how()}"
        return with_left_over([after_step(RELOAD, why, written, {"act": RELOAD})] if written else (), left)

    def permit(self, plan: Plan) -> None:
        """As `trueup.engine.job.Job.permit`: a stranger's file must not have processes signalled, nor URLs asked."""
        if self._reload.permit is not None and any(_is_reload(step) for item in plan.items for step in item.steps):
            self._reload.permit()

    def needs(self) -> dict[str, Callable[[], str]]:
        """As `trueup.engine.job.Job.needs`: nobody is told, but there must be somebody."""
        return {"reload": self._reachable} if self._reload.pidfile or self._reload.url else {}

    def _reachable(self) -> str:
        if self._reload.permit is not None:
            self._reload.permit()
        if self._reload.pidfile:
            _signal(Path(self._reload.pidfile), 0)
        return self._how()

    def _how(self) -> str:
        reload = self._reload
        if reload.call is not None:
            return "a function of the program"
        parts = [f"POST {reload.url}"] if reload.url else []
        if reload.pidfile:
            parts.append(f"signal {reload.signal.value} to the process in {reload.pidfile}")
        return ", ".join(parts)

    async def act(self, _: Step) -> None:
        """As `trueup.engine.job.Job.act`.

        Raises:
            StoreError: If the settings were not read again.
        """
        if self._reload.call is not None:
            await self._called()
        elif self._reload.wanted:
            await self._job.ambient.threads(self._told)

    async def _called(self) -> None:
        assert self._reload.call is not None  # noqa: S101 - asked before
        try:
            answer = await self._job.ambient.threads(self._reload.call)
            if hasattr(answer, "__await__"):
                await cast("Awaitable[object]", answer)
        except Exception as error:  # the edge of somebody else's code: whatever it raises means that it failed
            raise StoreError("the settings were not read again", why=f"{type(error).__name__}: {error}") from error

    def _told(self) -> None:
        if self._reload.url:
            _post(self._reload.url)
        if self._reload.pidfile:
            _signal(Path(self._reload.pidfile), getattr(signal, f"SIG{self._reload.signal.value}"))


def _post(url: str) -> None:
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    try:
        with urlopen(Request(url, data=b"", method="POST"), timeout=SECONDS):  # noqa: S310 - http only, by its form
            pass
    except HTTPError as error:
        error.close()  # it is the answer, too
        raise StoreError("the settings were not read again", why=f"{url} answered {error.code}") from error
    except (URLError, OSError, HTTPException) as error:
        why = getattr(error, "reason", None) or error
        raise StoreError("the settings were not read again", why=f"{url}: {why}") from error


def _signal(pidfile: Path, number: int) -> None:
    """Send a signal; 0 only finds out whether that could be done."""
    try:
        process = int(pidfile.read_text("ascii"))
        # 0 and negative numbers are groups of processes, 1 is the system.
        os.kill(process if process > 1 else _no_process(process), number)
    except (OSError, ValueError, OverflowError) as error:
        raise StoreError("the settings were not read again", why=f"{pidfile}: {error}") from error


def _no_process(number: int) -> NoReturn:
    raise ValueError(f"{number} is no process of an application")


def _is_reload(step: Step) -> bool:
    return step.verb is Verb.ACT and step.record is not None and step.record.fields.get("act") == RELOAD


def failed(report: Report) -> bool:
    """Whether settings were written here, and the application could not read them."""
    status = {outcome.step: outcome.status for outcome in report.outcomes}
    steps = [step for item in report.plan.changes for step in item.steps]
    wrote = any(
        step.side == LOCAL and step.verb is not Verb.ACT and status.get(step.id) is Status.DONE for step in steps
    )
    return wrote and any(_is_reload(step) and status.get(step.id) is Status.FAILED for step in steps)
