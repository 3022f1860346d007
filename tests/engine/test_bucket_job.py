"""The main job against a bucket: 5,000 real files there and back, edited on both sides, killed, undone, two at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from threading import Event, Thread
from typing import Any

import pytest
from tests.engine.real_bucket import BucketWorld, Plain, files
from tests.engine.real_runs import COUNTED, begin, command, kill_one, sync
from tests.engine.real_tree import digest, stamped
from tests.services import Service

from trueup.core.report import EXIT_LOCKED, EXIT_OK, EXIT_PARTIAL

SEED = 20_261_122
KILLS = 10

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.xdist_group("bucket job")]

State = tuple[dict[str, bytes], dict[str, bytes]]


def state(world: BucketWorld) -> State:
    """Names and digests, here and there."""
    return files(world.local), world.bucket.live()


@dataclass
class Story:
    """What happened to the undisturbed pair."""

    world: BucketWorld
    before: State
    code: int
    changes: list[Any]
    after: State


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory, strong_s3: Service) -> tuple[BucketWorld, BucketWorld]:
    """Two folders and two prefixes in agreement, equal to the byte, then edited on both sides."""
    base = tmp_path_factory.mktemp("bucket-job")
    pair = BucketWorld(base / "quiet", SEED, server=strong_s3), BucketWorld(base / "killed", SEED, server=strong_s3)
    for world in pair:
        world.build()
    first = [begin(world) for world in pair]
    assert [process.wait() for process in first] == [EXIT_OK, EXIT_OK]
    for world in pair:
        local, remote = state(world)
        assert local == remote
        world.edit()
    return pair


@pytest.fixture(scope="module")
def story(worlds: tuple[BucketWorld, BucketWorld]) -> Story:
    """The quiet pair, synced."""
    world, _ = worlds
    before = state(world)
    code, changes = sync(world)
    return Story(world, before, code, changes, state(world))


def test_five_thousand_files_edited_here_and_in_the_bucket_agree_after_one_run(story: Story) -> None:
    assert story.code == EXIT_OK
    assert len(story.changes) > 1_000
    assert len(story.after[0]) > 5_000
    assert story.after[0] == story.after[1]


def test_every_version_that_anybody_wrote_is_live_or_kept(story: Story) -> None:
    agreed = {seen for side in story.before for seen in side.values()}
    held = story.world.held()
    assert not {what for seen, what in story.world.written.items() if seen not in held}
    assert not agreed - held  # with keep = all even what is equal to an ancestor


def test_a_second_run_is_a_no_op(story: Story) -> None:
    assert sync(story.world) == (EXIT_OK, [])
    assert state(story.world) == story.after


def test_killed_at_ten_moments_and_rerun_it_ends_in_the_same_state_and_loses_nothing(
    worlds: tuple[BucketWorld, BucketWorld], story: Story
) -> None:
    _, world = worlds
    rng = Random(SEED)
    share = len(story.changes) // (KILLS + 1)
    for number in range(KILLS):
        kill_one(world, mark="." if number % 5 == 3 else "x", count=rng.randint(1, share))
        if number % 4 == 1:
            held = world.held()
            assert not {what for seen, what in world.written.items() if seen not in held}
    code, changes = sync(world)
    assert code == EXIT_OK
    assert changes, "ten killed runs had left nothing to do: they were killed too late"
    assert sync(world) == (EXIT_OK, [])
    local, remote = state(world)
    assert local == remote == story.after[0]
    agreed = {seen for side in story.before for seen in side.values()}
    assert not (agreed | set(world.written)) - world.held()


def test_undo_brings_the_old_state_back(story: Story) -> None:
    code, answer = command(story.world, "history", "ls")
    assert code == EXIT_OK
    run = next(run["id"] for run in answer["runs"] if run["done"] > 1_000)
    code, _ = command(story.world, "undo", run, "--yes")
    assert code == EXIT_OK
    assert state(story.world) == story.before


LAWLESS = """
from contextlib import asynccontextmanager
from trueup.stores.object import ObjectStore

@asynccontextmanager
async def hold(self, holder):
    yield

ObjectStore.hold = hold
"""
"""A client that takes no lock: only compare-and-swap is between it and the others."""


@pytest.fixture(scope="module")
def machines(worlds: tuple[BucketWorld, BucketWorld], story: Story) -> tuple[BucketWorld, BucketWorld]:
    """Two machines with a folder each and one bucket, at rest."""
    one = worlds[1]
    two = BucketWorld(one.base / "another machine", SEED + 1, server=one.server, prefix=one.prefix)
    two.local.mkdir()
    sync(one)
    code, changes = sync(two)
    assert code == EXIT_OK
    assert len(changes) >= 5_000
    return one, two


def test_all_of_it_comes_back_to_the_byte(machines: tuple[BucketWorld, BucketWorld]) -> None:
    one, two = machines
    assert files(two.local) == files(one.local)
    assert len(files(two.local)) > 5_000
    for name in list(files(one.local))[::500]:
        assert digest(one.bucket.get(name)) == digest((two.local / name).read_bytes()), "an ETag was no MD5"


@dataclass(eq=False)  # threads are kept in sets
class Person(Thread):
    """Writes to the bucket all the time, by plain requests, and replaces only what it has seen."""

    bucket: Plain
    names: list[str]
    versions: dict[bytes, str]
    """What it wrote."""
    replaced: set[bytes]
    """What it replaced itself."""

    def __post_init__(self) -> None:
        super().__init__(name="person")
        self.enough = Event()

    def run(self) -> None:
        for number, name in enumerate(self.names):
            if self.enough.wait(0.02):
                return
            seen = self.bucket.request("HEAD", name)
            content = stamped(f"by a person, {number}", name.encode())
            condition = {"if_match": seen.headers["etag"]} if seen.status == 200 else {"if_none_match": "*"}
            if self.bucket.request("PUT", name, content, **condition).status == 200:
                self.versions[digest(content)] = name
                if seen.status == 200:
                    self.replaced.add(bytes.fromhex(seen.headers["etag"].strip('"')))


def edit_apart(machines: tuple[BucketWorld, BucketWorld]) -> list[str]:
    """Both change, create and delete, some of it the same; the names that more than one has touched."""
    rng = Random(SEED)
    for machine in machines:
        machine.written.clear()
    names = sorted(name for name in files(machines[0].local) if ".conflict-" not in name)
    rng.shuffle(names)
    shared, gone, apart = names[:60], names[60:120], names[120:]
    for number, machine in enumerate(machines):
        for name in [*shared, *apart[number * 120 : number * 120 + 120], *gone[number * 20 : number * 20 + 20]]:
            machine._write(machine.local, name, f"machine {number}")
        for name in gone[20 - number * 20 : 40 - number * 20]:  # what the other one edits
            (machine.local / name).unlink()
        (machine.local / gone[40 + number]).unlink()
        for count in range(60):
            machine._write(machine.local, f"new/{number if count % 2 else 'shared'}/{count}", f"machine {number}")
    return [*shared, *gone]


def together(machines: tuple[BucketWorld, BucketWorld], program: str, *, most: int) -> Iterator[list[int]]:
    """Start both at the same moment, again and again until all three places are equal; exit codes of each time."""
    one, two = machines
    for _ in range(most):
        both = [begin(machine, program=program) for machine in machines]
        codes = [process.wait() for process in both]
        yield codes
        if codes == [EXIT_OK, EXIT_OK] and files(one.local) == files(two.local) == one.bucket.live():
            return
    pytest.fail(f"after {most} runs of both they were not equal")


def missing(machines: tuple[BucketWorld, BucketWorld], versions: dict[bytes, str]) -> set[str]:
    """What is neither live nor kept anywhere."""
    held = machines[0].held() | machines[1].held()
    return {what for seen, what in versions.items() if seen not in held}


def test_two_clients_without_a_lock_and_a_person_in_one_bucket_at_once_lose_nothing(
    machines: tuple[BucketWorld, BucketWorld],
) -> None:
    versions = dict.fromkeys(files(machines[0].local).values(), "agreed")
    touched = edit_apart(machines)
    person = Person(machines[0].bucket, [*touched, *(f"new/shared/{n}" for n in range(30))], {}, set())
    person.start()
    codes: list[int] = []
    try:
        for some in together(machines, LAWLESS + COUNTED, most=8):
            codes += some
            if len(codes) > 3:
                person.enough.set()
                person.join()
    finally:
        person.enough.set()
        person.join()
    assert set(codes) == {EXIT_OK, EXIT_PARTIAL}, "nobody got in anybody's way"
    assert [sync(machine) for machine in machines] == [(EXIT_OK, [])] * 2
    for machine in machines:
        versions |= machine.written
    versions |= person.versions
    assert not missing(machines, {seen: what for seen, what in versions.items() if seen not in person.replaced})


def test_of_two_clients_at_once_the_lock_lets_one_in_and_both_end_equal(
    machines: tuple[BucketWorld, BucketWorld],
) -> None:
    versions = dict.fromkeys(files(machines[0].local).values(), "agreed")
    for number, machine in enumerate(machines):
        machine.written.clear()
        for count in range(100):
            machine._write(machine.local, f"again/{count + 50 * number}", f"machine {number}, {count}")
    codes = [code for some in together(machines, COUNTED, most=8) for code in some]
    # Who comes while the other works is locked out; who looked before the other wrote finds some items changed.
    assert set(codes) <= {EXIT_OK, EXIT_LOCKED, EXIT_PARTIAL}
    assert set(codes) != {EXIT_OK}, "they never met"
    for machine in machines:
        versions |= machine.written
    assert not missing(machines, versions)
