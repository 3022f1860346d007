"""Runs that were killed: what had become of them."""

from __future__ import annotations

from collections.abc import Mapping

from trueup.core.errors import StoreError
from trueup.core.model import Entry, Key, Side
from trueup.core.plan import Ref, Step
from trueup.core.report import Outcome, Status
from trueup.core.table import Verb
from trueup.engine.job import Job
from trueup.engine.journal import Finished, RunState


async def settle_killed(job: Job, number: int) -> list[str]:
    """Finish the books of runs that were killed: find out which of their steps had taken effect.

    Call it under the target's lock. Nothing is redone or undone here; the next plan sees what is there. It serves
    the history, and `undo`.

    Returns:
        The ids of those runs.
    """
    killed = await job.ambient.threads(job.journal.killed, number)
    for run in killed:
        kept = {(side, d.key): d.handle for side in job.stores for d in await job.stores[side].kept() if d.run == run}
        finished = []
        for n, item in await job.ambient.threads(job.journal.unfinished, run):
            outcomes = [await _found_out(job, step, kept) for step in item.steps]
            finished.append(Finished(n, tuple(outcomes)))
        await job.ambient.threads(job.journal.record, run, number, finished)
        await job.ambient.threads(job.journal.end, run, RunState.KILLED, job.ambient.clock.now_ns())
    return killed


async def _found_out(job: Job, step: Step, kept: Mapping[tuple[Side, Key], str]) -> Outcome:
    """Whether a step of a killed run had taken effect."""
    handle = kept.get((step.side, step.key))
    lost = Outcome(step.id, step.key, Status.SKIPPED, "the run was killed")
    try:
        entry = await job.stores[step.side].stat(step.key)
        left = step.verb is not Verb.MOVE or await job.stores[step.side].stat(_origin(step)) is None
    except StoreError:  # something else is there by now, a link for example
        return lost
    match step.verb:
        case Verb.ADOPT | Verb.ACT:
            return lost
        case Verb.SAVE:
            took_effect = handle is not None
        case Verb.MOVE if step.value is not None:
            took_effect = left and entry is not None and _looks_like(entry, step.value)
        case Verb.DELETE | Verb.RECORD_REMOVE:
            took_effect = entry is None
        case Verb.RECORD_ADD | Verb.RECORD_CHANGE:
            took_effect = entry is not None and entry.token != step.expect
        case _ if step.value is None:
            took_effect = entry is None and handle is not None
        case _:
            took_effect = entry is not None and entry.token != step.expect and _looks_like(entry, step.value)
    if not took_effect:
        return lost
    fingerprint = step.value.content.fingerprint if step.value else None
    return Outcome(step.id, step.key, Status.DONE, "", "", entry.token if entry else None, fingerprint, handle)


def _origin(step: Step) -> Key:
    """The old name of what a step moves."""
    return step.key if step.value is None else step.value.key


def _looks_like(entry: Entry, value: Ref) -> bool:
    """Size and modification time are copied with the content; together they name what a killed run wrote."""
    return entry.content.size == value.content.size and entry.modified_ns == value.modified_ns
