"""The engine in a world that a seed makes up: faults, crashes, other machines, other people; nothing gets lost.

More seeds: ``make simulate SEEDS=100000``; one of them, step by step: ``python -m tests.simulation --seed 7 --trace``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from tests.simulation import mutants, story
from tests.simulation.record import ROWS
from tests.simulation.seeds import follows_one
from tests.simulation.shrink import shrink
from tests.simulation.story import Act, Step, Story, Trouble, Visit
from tests.simulation.world import Told, mixed

from trueup.core.model import Key
from trueup.core.strategy import Deletes

ROOT = Path(__file__).parents[2]
SEEDS = 2000
SOME = 40

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("simulation")]


def simulate(*arguments: str, hashes: int = 0) -> subprocess.CompletedProcess[str]:
    """In a process of its own: stories end what they leave behind by force, and collect garbage when they like."""
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    paths = [str(ROOT / "src"), str(ROOT), *sys.path]
    env = os.environ | {"PYTHONHASHSEED": str(hashes), "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=600)


@pytest.mark.timeout(600)
def test_no_seed_breaks_an_invariant() -> None:
    done = simulate("--seeds", str(SEEDS))
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    *happened, last = done.stdout.splitlines()
    assert last.startswith(f"{SEEDS} seeds, ")
    for title, _ in ROWS:
        (line,) = [line for line in happened if line.endswith(f" {title}")]
        assert int(line.split()[0].replace(",", "")) > 0, line


@pytest.mark.timeout(300)
def test_the_same_seed_tells_the_same_story_byte_for_byte() -> None:
    first, second = (simulate("--seeds", str(SOME), "--traces", hashes=hashes) for hashes in (1, 2))
    assert first.returncode == second.returncode == 0, first.stderr[-2000:]
    assert first.stdout.count("seed ") >= SOME
    assert first.stdout == second.stdout


def test_a_story_that_fails_is_shrunk_to_what_matters() -> None:
    needed = Act("delete", "A", 3)
    crash = Visit(
        "A", crash_at=20, troubles=(Trouble(1, "fault"), Trouble(2, "lie")), acts=((4, Act("write", "A", 1)),)
    )
    told = story.write(7)
    long = replace(told, steps=(*told.steps, Step((needed, Act("touch", "shared", 1)), (("A", 5.0),), (crash,))))

    def fails(shorter: Story) -> bool:
        visits = [visit for step in shorter.steps for visit in step.visits]
        return any(needed in step.acts for step in shorter.steps) and any(v.crash_at == 20 for v in visits)

    short = shrink(long, fails)
    assert not short.files
    assert short.steps == (Step((needed,), (), (Visit("A", crash_at=20),)),)


def test_every_seed_is_another_story() -> None:
    assert len({story.write(seed) for seed in range(200)}) == 200


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_every_fault_of_the_mutants_can_be_put_in(mutant: mutants.Mutant) -> None:
    assert mutants.mutated(mutant)


@pytest.mark.parametrize(
    ("deletes", "lacking", "explained"),
    [
        (Deletes.RESTORE, {"new/name": b"text"}, True),
        (Deletes.REPORT, {"new/name": b"text"}, True),
        (Deletes.RESTORE, {"new/name": b"another"}, False),
        (Deletes.RESTORE, {"new/name": b"text", "old": b"another"}, False),
        (Deletes.PROPAGATE, {"new/name": b"text"}, False),
    ],
    ids=["a rename", "a rename that leaves its old name", "a loss", "another version", "no setting that leaves it"],
)
def test_ends_may_differ_by_a_rename_that_only_a_stopped_run_could_follow(
    deletes: Deletes, lacking: dict[str, bytes], explained: bool
) -> None:
    told = story.write(7)
    told = replace(told, setting=replace(told.setting, policy=replace(told.setting.policy, deletes=deletes)))
    ends = [
        {"A": {Key(key): text for key, text in end.items()}} for end in (lacking, {"old": b"text", "new/name": b"text"})
    ]
    one, other = (Told(told, [], [], Counter(), end) for end in ends)
    assert follows_one(one, other) == follows_one(other, one) == explained


def test_a_name_that_is_a_file_and_a_folder_at_once_is_noticed() -> None:
    assert mixed([Key("d/e/f"), Key("d/e")])
    assert not mixed([Key("d/e/f"), Key("d/")])


def test_a_story_that_lost_a_machine_in_shortening_has_no_mirror() -> None:
    told = next(one for one in map(story.write, range(2000)) if one.has_mirror and len(one.setting.machines) == 1)
    elsewhere = Step((Act("touch", "B", 1),), (), ())
    assert not replace(told, steps=(*told.steps, elsewhere)).has_mirror
