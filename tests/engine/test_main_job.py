"""The main job on real input: 5,000 real files on two sides, edited on both, synced, killed, undone, read meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.engine.real_tree import World, is_whole, snapshot

SEED = 20_261_121
KILLS = 10
POLICY = ("--conflict", "backup_both", "--deletes", "propagate", "--max-delete", "50%")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("main job")]

# Runs the engine and prints a dot for every item that is done: whoever counts them knows when to kill.
COUNTED = """
import sys
from pathlib import Path
import anyio
from trueup.api import Engine
from trueup.core.check import Limits
from trueup.core.report import exit_code
from trueup.core.strategy import Conflict, Deletes, Policy
from trueup.targets.folders import Folders

def told(progress):
    sys.stdout.write("x" if progress.phase == "execute" else ".")
    sys.stdout.flush()

async def main(local, remote, state):
    policy = Policy(conflict=Conflict.BACKUP_BOTH, deletes=Deletes.PROPAGATE)
    spec = Folders("local", (local,), remote, policy=policy, limits=Limits(delete_share=0.5))
    async with Engine(state_dir=Path(state), on_progress=told) as engine:
        return exit_code(await engine.run(spec))

sys.exit(anyio.run(main, *sys.argv[1:]))
"""

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


def command(world: World, *words: str) -> tuple[int, Any]:
    """Run the command; its exit code and its answer."""
    result = subprocess.run(
        [sys.executable, "-m", "trueup", *words, "--json"],
        env={**os.environ, "TRUEUP_STATE": str(world.state)},
        cwd=world.base,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout, result.stderr
    return result.returncode, json.loads(result.stdout)


def sync(world: World, *flags: str) -> tuple[int, Any]:
    """One run over both folders; its exit code and the plan's items that change something."""
    code, answer = command(world, "sync", "folder", "local", "remote", "--yes", *POLICY, *flags)
    report = answer["results"][0]["report"]["report"]
    return code, [item for item in report["plan"]["items"] if item["steps"] and item["phase"] != 0]


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
    first = [
        subprocess.Popen([sys.executable, "-c", COUNTED, *map(str, (*w.sides, w.state))], stdout=subprocess.DEVNULL)
        for w in pair
    ]
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


def kill_one(world: World, *, mark: str, count: int) -> None:
    """Begin a run, and kill it once it has told of so many events."""
    arguments = [sys.executable, "-c", COUNTED, *map(str, (*world.sides, world.state))]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    descriptor, seen = process.stdout.fileno(), 0
    wanted = count if mark == "x" else count % 7 + 1
    while seen < wanted:
        events = os.read(descriptor, 64)
        assert events, f"the run ended with {process.wait()} before it could be killed"
        seen += events.count(mark.encode())
    process.send_signal(signal.SIGKILL)
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL


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
