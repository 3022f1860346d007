"""From seeds to figures: tell each story, and shrink what fails."""

from __future__ import annotations

import gc
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.simulation import story as stories
from tests.simulation.shrink import shrink
from tests.simulation.story import Story
from tests.simulation.world import SHM, Told, mixed, tell

from trueup.core.model import Key
from trueup.core.strategy import Deletes
from trueup.engine.state import DATABASE, State

COLLECT = 40
"""Garbage is collected after so many stories, between them: when, must not depend on the machine."""


@dataclass
class Result:
    """What came of some seeds."""

    seeds: int = 0
    figures: Counter[str] = field(default_factory=Counter)
    broken: list[tuple[int, str]] = field(default_factory=list)
    """Seeds, and what was broken first."""

    def add(self, other: Result) -> None:
        """Both together."""
        self.seeds += other.seeds
        self.figures += other.figures
        self.broken += other.broken


@contextmanager
def quiet_process() -> Iterator[Path]:
    """A process that tells stories and does nothing else; yields a state database to copy.

    What dies in a story is ended when the story is over, and what it still has to say concerns nobody.
    """
    hook = sys.unraisablehook
    directory = Path(tempfile.mkdtemp(prefix="trueup-template-", dir=SHM if SHM.is_dir() else None))
    State(directory).close()
    gc.disable()
    try:
        sys.unraisablehook = lambda _: None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            warnings.simplefilter("ignore", ResourceWarning)
            yield directory / DATABASE
            gc.collect()
    finally:
        sys.unraisablehook = hook
        gc.enable()
        shutil.rmtree(directory)


def run(seeds: Iterable[int], template: Path, *, stop_at: int | None = None, seconds: float | None = None) -> Result:
    """Tell the stories of these seeds.

    Args:
        seeds: The seeds.
        template: As for `tell`.
        stop_at: End after so many failures.
        seconds: End after so long.
    """
    result = Result()
    began = time.monotonic()
    for seed in seeds:
        told = judge(stories.write(seed), template)
        result.seeds += 1
        result.figures += told.figures
        if told.broken:
            result.broken.append((seed, told.broken[0]))
            if stop_at is not None and len(result.broken) >= stop_at:
                break
        if result.seeds % COLLECT == 0:
            gc.collect()
        if seconds is not None and time.monotonic() - began > seconds:
            break
    return result


def judge(story: Story, template: Path) -> Told:
    """Tell a story; one that only crashes is told a second time, without and in another order."""
    told = tell(story, template=template)
    if not story.crashes_only or told.broken:
        return told
    calm = tell(stories.calm(story), template=template)
    told.figures += calm.figures
    if calm.broken:
        return replace(calm, figures=told.figures)
    explained = story.setting.caseless or _is_mixed(told) or _is_mixed(calm) or follows_one(told, calm)
    if calm.ends != told.ends and not explained:
        apart = {
            place: {key: (told.ends[place].get(key), calm.ends[place].get(key)) for key in _apart(told, calm, place)}
            for place in told.ends
        }
        told.broken.append(f"invariant 6 and 11: with and without crashes the ends differ: {apart}")
    elif story.has_mirror:
        _compare(told, calm, tell(stories.mirrored(calm.story), template=template))
    return told


def _is_mixed(told: Told) -> bool:
    """Whether a bucket held a file and something below its name, now or then.

    A folder can hold only one of them. What comes of the other may depend on where a run was stopped: what is below a
    file that gives way goes with it, but where the file is gone already it is a new item of one side.
    """
    return bool(told.figures["mixed"]) or any(mixed(end) for end in told.ends.values())


def follows_one(told: Told, calm: Told) -> bool:
    """Whether all that is apart are old names of what both ends hold under a new one, where deletions do not propagate.

    Where something of another kind has the new name, a rename is not followed: the old name is gone on one side, and
    stays or comes back. A run that was stopped after it had made room leaves a rename that the next one follows.
    """
    if told.story.setting.policy.deletes is Deletes.PROPAGATE:
        return False
    for place, end in told.ends.items():
        for key in _apart(told, calm, place):
            have, lack = (end, calm.ends[place]) if key in end else (calm.ends[place], end)
            if key in lack or have[key] not in lack.values():
                return False
    return True


def _compare(told: Told, one: Told, other: Told) -> None:
    """Invariant 7: with the sides swapped, the same."""
    told.figures += other.figures
    told.figures["mirrors"] += 1
    told.broken += other.broken
    swapped = {"A": other.ends["shared"], "shared": other.ends["A"]}
    if not told.broken and one.ends != swapped:
        told.broken.append(f"invariant 7: in a mirror another end: {one.ends} and {swapped}")


def _apart(one: Told, other: Told, place: str) -> list[Key]:
    mine, theirs = one.ends[place], other.ends[place]
    return [key for key in sorted(mine.keys() | theirs.keys()) if mine.get(key) != theirs.get(key)]


def shortest(seed: int, template: Path) -> Told:
    """The shortest story that fails as the seed's does."""
    first = judge(stories.write(seed), template)
    kind = kind_of(first.broken[0])

    def fails(story: Story) -> bool:
        broken = judge(story, template).broken
        return bool(broken) and kind_of(broken[0]) == kind

    return judge(shrink(first.story, fails), template)


def kind_of(broken: str) -> str:
    """Which invariant."""
    return broken.split(":", 1)[0]
