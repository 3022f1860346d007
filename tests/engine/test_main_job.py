"""The main job on real input: 5,000 real files on two sides, edited on both, synced, killed, undone, read meanwhile."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.engine.real_runs import begin, command, kill_one, sync
from tests.engine.real_tree import World, is_whole, snapshot

SEED = 20_261_121
KILLS = 10
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("main job")]

READER = """
import select, sys
names = sys.stdin.readline().rstrip("\\n").split("\\0")
reads, rounds = 0, 0
versions = {}
while True:
    for name in names:
        with open(name, "rb") as file:
            content = file.read()
        if not (len(content) >= 130 and content[:64] == content[-64:] and content[64:65] == content[-65:-64] == b"\\n"):
            sys.exit(f"half a file: {name}")
        versions.setdefault(name, set()).add(content[:64])
        reads += 1
    rounds += 1
    if rounds == 1:
        print("reading", flush=True)
    if select.select([sys.stdin], [], [], 0)[0]:
        break
print(reads, sum(len(found) > 1 for found in versions.values()))
"""


def reading(names: list[Path]) -> subprocess.Popen[str]:
    """A process that reads the files in a loop; it has seen each once when this returns."""
    reader = subprocess.Popen(
        [sys.executable, "-c", READER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert reader.stdin is not None
    assert reader.stdout is not None
    reader.stdin.write("\0".join(map(str, names)) + "\n")
    reader.stdin.flush()
    if reader.stdout.readline() != "reading\n":
        pytest.fail(reader.communicate()[1])
    return reader


@dataclass
class Story:
    """What happened to the undisturbed pair."""

    world: World
    before: tuple[dict[str, bytes], dict[str, bytes]]
    code: int
    changes: list[Any]
    after: tuple[dict[str, bytes], dict[str, bytes]]
    reader: tuple[int, str, str]


def made(base: Path) -> World:
    world = World(base, SEED)
    world.build()
    return world


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, World]:
    """Two pairs of folders in agreement, equal to the byte."""
    base = tmp_path_factory.mktemp("main-job")
    pair = made(base / "quiet"), made(base / "killed")
    first = [begin(world) for world in pair]
    assert [process.wait() for process in first] == [0, 0]
    for world in pair:
        assert snapshot(world.local) == snapshot(world.remote)
        world.edit()
    return pair


@pytest.fixture(scope="module")
def story(worlds: tuple[World, World]) -> Story:
    """The quiet pair, synced while somebody reads what is replaced."""
    world, _ = worlds
    before = snapshot(world.local), snapshot(world.remote)
    reader = reading([side / name for side in world.sides for name in world.replaced])
    try:
        code, changes = sync(world)
    finally:
        out, err = reader.communicate("\n", timeout=60)
    after = snapshot(world.local), snapshot(world.remote)
    return Story(world, before, code, changes, after, (reader.returncode, out, err))


def test_five_thousand_files_edited_on_both_sides_agree_after_one_run(story: Story) -> None:
    assert story.code == 0
    assert len(story.changes) > 1_000
    assert len(story.after[0]) > 5_000
    assert story.after[0] == story.after[1]


def test_every_version_that_anybody_wrote_is_live_or_kept(story: Story) -> None:
    agreed = {digest for side in story.before for digest in side.values()}
    held = story.world.held()
    assert not {what for digest, what in story.world.written.items() if digest not in held}
    assert not agreed - held  # with keep = all even what is equal to an ancestor


def test_a_reader_in_a_loop_never_fails_and_never_sees_half_a_file(story: Story) -> None:
    code, out, err = story.reader
    assert code == 0, err
    reads, changed = map(int, out.split())
    assert reads > 2 * len(story.world.replaced)
    assert changed >= len(story.world.replaced) * 0.9  # it did see the old version and the new


def test_a_second_run_is_a_no_op(story: Story) -> None:
    inodes = [{path: path.lstat().st_ino for path in side.rglob("lib*/*")} for side in story.world.sides]
    assert sync(story.world) == (0, [])
    assert [{path: path.lstat().st_ino for path in side.rglob("lib*/*")} for side in story.world.sides] == inodes


def test_killed_at_ten_moments_and_rerun_it_ends_in_the_same_state_and_loses_nothing(
    worlds: tuple[World, World], story: Story
) -> None:
    _, world = worlds
    rng = Random(SEED)
    share = len(story.changes) // (KILLS + 1)
    for number in range(KILLS):
        # Some die while they look, the others after some of the work; the last dots are still in flight then.
        kill_one(world, mark="." if number % 5 == 3 else "x", count=rng.randint(1, share))
        if number % 4 == 1:
            held = world.held()
            assert not {what for digest, what in world.written.items() if digest not in held}
    code, changes = sync(world)
    assert code == 0
    assert changes, "ten killed runs had left nothing to do: they were killed too late"
    assert sync(world) == (0, [])
    assert snapshot(world.local) == snapshot(world.remote) == story.after[0]
    agreed = {digest for side in story.before for digest in side.values()}
    assert not (agreed | set(world.written)) - world.held()


def test_undo_brings_the_old_state_back(story: Story) -> None:
    code, answer = command(story.world, "history", "ls")
    assert code == 0
    run = next(run["id"] for run in answer["runs"] if run["done"] > 1_000)
    code, _ = command(story.world, "undo", run, "--yes")
    assert code == 0
    assert (snapshot(story.world.local), snapshot(story.world.remote)) == story.before


def test_the_stamps_tell_whole_files_from_others() -> None:
    whole = b"a" * 64 + b"\nbody\n" + b"a" * 64
    assert is_whole(whole)
    assert not is_whole(whole[:-1])
    assert not is_whole(whole[:70] + b"b" * 64)
