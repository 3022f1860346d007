"""Make a story that fails as short as can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.simulation.story import Step, Story, Visit

MOST_TRIES = 600


def shrink(story: Story, fails: Callable[[Story], bool]) -> Story:
    """Take away what is not needed for it to fail, until nothing more can go."""
    tries = 0
    going = True
    while going:
        going = False
        for shorter in _shorter(story):
            tries += 1
            if tries > MOST_TRIES:
                return story
            if fails(shorter):
                story, going = shorter, True
                break
    return story


def _shorter(story: Story) -> Iterator[Story]:
    """The story without this or that, the largest pieces first."""
    steps = story.steps
    for n in range(len(steps)):
        yield replace(story, steps=steps[:n] + steps[n + 1 :])
    if len(story.setting.machines) > 1:
        yield replace(story, setting=replace(story.setting, machines=story.setting.machines[:1]))
    for n, step in enumerate(steps):
        for less in _less(step):
            yield replace(story, steps=(*steps[:n], less, *steps[n + 1 :]))
    for n in range(len(story.files)):
        yield replace(story, files=story.files[:n] + story.files[n + 1 :])
    plain = replace(
        story.setting,
        skews=(),
        tick_ns=0,
        free_fingerprints=False,
        ordered=True,
        complete_rows=True,
        locks=True,
        caseless=(),
        patterns=(),
    )
    for name in (
        "skews", "tick_ns", "free_fingerprints", "ordered", "complete_rows", "locks", "caseless", "patterns"
    ):  # fmt: skip
        if getattr(story.setting, name) != getattr(plain, name):
            yield replace(story, setting=replace(story.setting, **{name: getattr(plain, name)}))


def _less(step: Step) -> Iterator[Step]:
    for n in range(len(step.visits)):
        yield replace(step, visits=step.visits[:n] + step.visits[n + 1 :])
    for n in range(len(step.acts)):
        yield replace(step, acts=step.acts[:n] + step.acts[n + 1 :])
    if step.excludes is not None:
        yield replace(step, excludes=None)
    if step.jumps:
        yield replace(step, jumps=())
    for n, visit in enumerate(step.visits):
        for less in _quieter(visit):
            yield replace(step, visits=(*step.visits[:n], less, *step.visits[n + 1 :]))


def _quieter(visit: Visit) -> Iterator[Visit]:
    if visit.crash_at is not None:
        yield replace(visit, crash_at=None)
    for n in range(len(visit.troubles)):
        yield replace(visit, troubles=visit.troubles[:n] + visit.troubles[n + 1 :])
    for n in range(len(visit.acts)):
        yield replace(visit, acts=visit.acts[:n] + visit.acts[n + 1 :])
