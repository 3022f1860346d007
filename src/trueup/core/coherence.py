"""Whether a plan that was read hangs together: whoever looks at it sees every name that it touches.

A digest says that a plan is whole, not who made it. People review items; a step under another name would be carried out
without having been shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from trueup.core.model import Key, Side
from trueup.core.plan import Item, Plan, Step
from trueup.core.reconcile import SIBLING_DIGITS, sibling_key
from trueup.core.table import Verb

_WRITES = frozenset({Verb.PUT, Verb.MOVE, Verb.SIBLING})
"""What cannot be done without saying with which content."""


def incoherence(plan: Plan) -> str | None:
    """Why the plan cannot have been made by us; None if it can."""
    return next(_found(plan), None)


def _found(plan: Plan) -> Iterator[str]:
    known: set[str] = set()
    for item in plan.items:
        for step in item.steps:
            if step.id in known:
                yield f"two steps are called {step.id!r}"
            known.add(step.id)
            yield from _wrong(item, step, plan.target.locations)
    for item in plan.items:
        for step in item.steps:
            if not known.issuperset(step.needs) or step.id in step.needs:
                yield f"step {step.id!r} needs one that there is not"


def _wrong(item: Item, step: Step, sides: Iterable[Side]) -> Iterator[str]:
    if not _is_named_after(item.key, step, sides):
        yield f"step {step.id!r} of {item.key!r} is about {step.key!r}"
    if step.side not in sides:
        yield f"step {step.id!r} is for {step.side!r}"
    if step.verb in _WRITES and step.value is None:
        yield f"step {step.id!r} writes nothing"
    if step.verb is Verb.SAVE and not any(step.id in other.needs for other in item.steps):
        yield f"nothing needs what step {step.id!r} saves"


def _is_named_after(key: Key, step: Step, sides: Iterable[Side]) -> bool:
    if step.verb is not Verb.SIBLING:
        return step.key == key
    digest = step.value.content.fingerprint if step.value is not None else None
    return digest is not None and step.key in {
        sibling_key(key, side, digest, digits) for side in sides for digits in SIBLING_DIGITS
    }
