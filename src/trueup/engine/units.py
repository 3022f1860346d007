"""What is carried out together: small items, so that crossing into a thread does not cost more than they do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from trueup.core.audit import RECORDING
from trueup.core.model import is_directory
from trueup.core.plan import Item, Step
from trueup.core.table import Verb

SMALL_BYTES = 256 * 1024
MOST_TOGETHER = 32
"""Items up to so small go up to so many to a call of the store: crossing into a thread costs more than they do."""
RECORDS_TOGETHER = 1000
"""A side that records is read and written as a whole for every call, however little changes."""

Numbered = tuple[int, Item]
"""An item and its place in the plan."""


def units(items: Iterable[Numbered], together: int) -> Iterator[list[Numbered]]:
    """Small items of one side that follow each other go together, each other one by itself."""
    unit: list[Numbered] = []
    for numbered in items:
        step = lone_step(numbered[1])
        if step is not None and together <= 1 and step.verb not in RECORDING:
            step = None
        before = lone_step(unit[0][1]) if unit else None
        most = RECORDS_TOGETHER if step is not None and step.verb in RECORDING else together
        if unit and (step is None or before is None or step.side != before.side or len(unit) >= most):
            yield unit
            unit = []
        unit.append(numbered)
    if unit:
        yield unit


def lone_step(item: Item) -> Step | None:
    """The one step of an item besides its saves, if it is small and waits for nothing else; None if there are more."""
    steps = [step for step in item.steps if step.verb is not Verb.SAVE]
    if len(steps) != 1:
        return None
    step = steps[0]
    if step.needs and not {save.id for save in item.steps if save.verb is Verb.SAVE}.issuperset(step.needs):
        return None
    match step.verb:
        case Verb.DELETE | Verb.MOVE:
            return step
        case _ if step.verb in RECORDING:
            return step
        case Verb.PUT if step.value is not None and step.value.content.size <= SMALL_BYTES:
            return None if is_directory(step.key) else step
        case _:
            return None
