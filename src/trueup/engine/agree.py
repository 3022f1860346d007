"""What both sides hold from now on: the ancestors that a finished item leaves behind.

They say what was written, not what may be there by now: whoever edits in between is noticed by the next run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from trueup.core.model import (
    DIRECTORY_CONTENT,
    DIRECTORY_TOKEN,
    LOCAL,
    REMOTE,
    UNTRUSTED,
    Ancestor,
    Content,
    Entry,
    Key,
    Kind,
    Shown,
    Side,
    Token,
)
from trueup.core.plan import Item, Plan, Ref, Step
from trueup.core.reconcile import other
from trueup.core.table import Verb
from trueup.core.tree import SIDES
from trueup.engine.job import Job
from trueup.protocols import Written

Agreement = tuple[Key, Ancestor | None]
"""A key, and what both sides agree on; None: that nothing is there."""


def trusted(
    job: Job, side: Side, token: Token, *, modified_ns: int, observed_ns: int, told_by: Side | None = None
) -> Token:
    """The token, or the empty one if a later edit could bear the same.

    An edit within the clock's granularity of the last one changes neither size nor time (the racy timestamp of
    version control systems): a file that young is looked at again next time.

    Args:
        job: For its sides' clocks.
        side: Whose token it is.
        token: The version.
        modified_ns: When it was modified; 0 is no time but of a side whose listing tells every time.
        observed_ns: When it was seen, or its writing was begun.
        told_by: The side that told the time; None: its own.
    """
    properties = job.stores[side].properties
    if not properties.tick_ns or token == DIRECTORY_TOKEN:
        return token
    made_ns = properties.made_ns(token)
    if made_ns is None and not modified_ns and not job.stores[told_by or side].properties.complete_rows:
        return UNTRUSTED
    since_ns = modified_ns if made_ns is None else made_ns
    return token if since_ns < observed_ns - properties.tick_ns else UNTRUSTED


def adopted(job: Job, item: Item, observed_ns: int) -> Agreement:
    """Both sides hold the same, or nothing, already."""
    local, remote = item.side(LOCAL), item.side(REMOTE)
    if not isinstance(local, Entry) or not isinstance(remote, Entry):
        return item.key, None
    fingerprint = local.content.fingerprint or remote.content.fingerprint
    content = _content(Content(local.content.kind, local.content.size, fingerprint))
    mine = trusted(job, LOCAL, local.token, modified_ns=local.modified_ns, observed_ns=observed_ns)
    theirs = trusted(job, REMOTE, remote.token, modified_ns=remote.modified_ns, observed_ns=observed_ns)
    return item.key, Ancestor(mine, theirs, content)


def written(job: Job, plan: Plan, item: Item, results: Mapping[str, Written], observed_ns: int) -> Iterator[Agreement]:
    """What an item left behind, all of whose steps were carried out.

    Args:
        job: For its sides' clocks.
        plan: The item's plan; an undo brings back the ancestors of before.
        item: The item.
        results: What its steps wrote, by their ids.
        observed_ns: When the item was begun.
    """
    moves = [(step, step.value) for step in item.steps if step.verb is Verb.MOVE and step.value is not None]
    for step, value in moves:
        # In an undo the other side was only glanced at: what it holds may have been edited since.
        seen = item.side(other(step.side)) if plan.undoes is None else None
        yield value.key, None
        yield item.key, _moved(job, step, value, seen, results[step.id], observed_ns)
    if plan.undoes is not None:
        if not moves:
            yield item.key, item.agreed
        return
    siblings = [step for step in item.steps if step.verb is Verb.SIBLING]
    if len(siblings) == len(SIDES):
        yield siblings[0].key, _copied(job, siblings, results, observed_ns)
    writes = [step for step in item.steps if step.verb in (Verb.PUT, Verb.REPLACE_KIND, Verb.DELETE)]
    if writes:
        gone = all(step.value is None for step in writes)
        yield item.key, None if gone else _copied(job, writes, results, observed_ns)


def _moved(job: Job, step: Step, value: Ref, seen: Shown, result: Written, observed_ns: int) -> Ancestor:
    """The content under its new name: as it was seen on the one side, as it was moved on the other."""
    here = trusted(job, step.side, result.token or value.token, modified_ns=value.modified_ns, observed_ns=observed_ns)
    there = UNTRUSTED
    if isinstance(seen, Entry):
        there = trusted(job, other(step.side), seen.token, modified_ns=seen.modified_ns, observed_ns=observed_ns)
    local, remote = (here, there) if step.side == LOCAL else (there, here)
    return Ancestor(local, remote, value.content)


def _copied(job: Job, steps: Sequence[Step], results: Mapping[str, Written], observed_ns: int) -> Ancestor:
    """What was written, and the version that it was read from; times are copied with the content."""
    value = next(step.value for step in steps if step.value is not None)
    tokens, fingerprint = {value.side: value.token}, value.content.fingerprint
    for step in steps:
        result = results[step.id]
        tokens[step.side] = result.token or DIRECTORY_TOKEN
        fingerprint = result.fingerprint or fingerprint
    content = _content(Content(value.content.kind, value.content.size, fingerprint))
    local, remote = (
        trusted(job, side, tokens[side], modified_ns=value.modified_ns, observed_ns=observed_ns, told_by=value.side)
        for side in SIDES
    )
    return Ancestor(local, remote, content)


def _content(content: Content) -> Content:
    return DIRECTORY_CONTENT if content.kind is Kind.DIRECTORY else content
