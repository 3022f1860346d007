"""Several local folders as one side of a target."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.engine.pair import PROPAGATE, Pair, reasons

from trueup.core.errors import PlanRefused, UsageError
from trueup.core.model import LOCAL
from trueup.core.report import EXIT_OK, EXIT_PARTIAL, exit_code
from trueup.stores.joined import places
from trueup.targets.folders import Selection


@dataclass
class Roots:
    """Two folders on this machine and one remote that holds both."""

    pair: Pair
    docs: Path
    code: Path

    @property
    def remote(self) -> Path:
        return self.pair.remote

    async def run(self, **options: Any) -> Any:
        return await self.pair.run(local=(str(self.docs), str(self.code)), **options)

    async def plan(self, **options: Any) -> Any:
        return await self.pair.plan(local=(str(self.docs), str(self.code)), **options)

    def local(self) -> dict[str, bytes | None]:
        live: dict[str, bytes | None] = {}
        for root in (self.docs, self.code):
            live[f"{root.name}/"] = None
            live |= {f"{root.name}/{name}": seen for name, seen in self.pair.live(root).items()}
        return live


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    pair = Pair(tmp_path)
    docs, code = tmp_path / "a" / "docs", tmp_path / "b" / os.fsdecode(b"c\xf8de")
    for root in (docs, code):
        root.mkdir(parents=True)
    return Roots(pair, docs, code)


async def furnished(roots: Roots) -> None:
    roots.pair.write(roots.docs, "a", "one")
    roots.pair.write(roots.docs, "d/b", "two")
    roots.pair.write(roots.code, "a", "three")
    assert exit_code(await roots.run()) == EXIT_OK


async def test_each_root_lies_under_its_name(roots: Roots) -> None:
    await furnished(roots)
    assert roots.local() == roots.pair.live(roots.remote)
    assert roots.pair.live(roots.remote)["docs/d/b"] == b"two"
    assert not (await roots.plan()).items


async def test_changes_travel_both_ways_and_can_be_taken_back(roots: Roots) -> None:
    await furnished(roots)
    roots.pair.write(roots.remote, "docs/a", "edited there")
    roots.pair.write(roots.code, "new/file", "made here")
    (roots.remote / "docs/d/b").unlink()
    before = roots.local(), roots.pair.live(roots.remote)
    await roots.run()
    assert roots.local() == roots.pair.live(roots.remote)
    assert roots.local()["docs/a"] == b"edited there"
    async with roots.pair.engine() as engine:
        await engine.undo("last")
    assert (roots.local(), roots.pair.live(roots.remote)) == before


async def test_a_plan_for_several_roots_can_be_applied_later(roots: Roots) -> None:
    await furnished(roots)
    roots.pair.write(roots.docs, "a", "edited")
    plan = await roots.plan()
    async with roots.pair.engine() as engine:
        report = await engine.apply(plan)
    assert exit_code(report) == EXIT_OK
    assert roots.pair.live(roots.remote)["docs/a"] == b"edited"


async def test_what_is_deleted_lies_in_the_trash_of_its_root_and_comes_back(roots: Roots) -> None:
    await furnished(roots)
    (roots.remote / "docs/d/b").unlink()
    await roots.run()
    spec = roots.pair.spec(local=(str(roots.docs), str(roots.code)))
    async with roots.pair.engine() as engine:
        (item,) = await engine.trash(spec)
        assert (item.side, item.item.key) == (LOCAL, "docs/d/b")
        assert roots.pair.trashed(roots.docs) == {b"two"}
        await engine.restore(spec, item.item.handle)
        assert roots.local()["docs/d/b"] == b"two"
        assert (await engine.prune(spec)).removed == 1
    assert not roots.pair.trashed(roots.docs)


async def test_a_root_whose_remote_side_is_gone_stays(roots: Roots) -> None:
    await furnished(roots)
    for name in ("docs/a", "docs/d/b"):
        (roots.remote / name).unlink()
    (roots.remote / "docs/d").rmdir()
    (roots.remote / "docs").rmdir()
    report = await roots.run()
    assert exit_code(report) == EXIT_OK
    assert roots.docs.is_dir()
    assert set(roots.local()) == {"docs/", f"{roots.code.name}/", f"{roots.code.name}/a"}
    again = await roots.run()
    assert not again.plan.changes
    assert exit_code(again) == EXIT_OK


async def test_a_file_in_the_place_of_a_root_replaces_nothing(roots: Roots) -> None:
    await furnished(roots)
    for name in ("docs/a", "docs/d/b"):
        (roots.remote / name).unlink()
    (roots.remote / "docs/d").rmdir()
    (roots.remote / "docs").rmdir()
    roots.pair.write(roots.remote, "docs", "a file")
    report = await roots.run(policy=PROPAGATE)
    assert exit_code(report) != EXIT_OK
    assert roots.local()["docs/a"] == b"one"
    assert roots.local()["docs/d/b"] == b"two"


async def test_what_belongs_to_no_root_is_reported_and_left(roots: Roots) -> None:
    await furnished(roots)
    roots.pair.write(roots.remote, "other/x", "nobody's")
    roots.pair.write(roots.remote, "top.txt", "nobody's either")
    report = await roots.run()
    assert exit_code(report) == EXIT_PARTIAL
    assert reasons(report.plan) == dict.fromkeys(["other/", "other/x", "top.txt"], "blocked")


async def test_one_root_of_several_that_is_not_mounted_is_refused(roots: Roots) -> None:
    await furnished(roots)
    roots.code.rename(roots.code.with_name("the disk"))
    roots.code.mkdir()
    with pytest.raises(PlanRefused, match="other-root"):
        await roots.run()


@pytest.mark.parametrize("pattern", ["/build", "src/*.o", "*.log", "build/", "!keep.log"])
async def test_a_pattern_means_the_same_on_both_sides(roots: Roots, pattern: str) -> None:
    roots.pair.write(roots.docs, "build/x", "1")
    roots.pair.write(roots.docs, "src/y.o", "2")
    roots.pair.write(roots.docs, "z.log", "3")
    roots.pair.write(roots.docs, "keep.log", "4")
    await roots.run()
    excluding = {"selection": Selection(exclude=("*.none", pattern))}
    for name in ("docs/build/x", "docs/src/y.o", "docs/z.log"):
        (roots.remote / name).unlink()
    roots.pair.write(roots.remote, "docs/build/x2", "there alone")
    plan = await roots.plan(**excluding)
    for item in plan.changes:
        for step in item.steps:
            assert step.value is None or "x2" in step.key, (pattern, step)


async def test_the_ignore_file_of_a_root_speaks_of_that_root(roots: Roots) -> None:
    roots.pair.write(roots.docs, ".trueupignore", "/build\n*.log\n!keep.log\nsrc/gen\n")
    for n, root in enumerate((roots.docs, roots.code)):
        for name in ("build/x", "deep/build/x", "z.log", "deep/z.log", "keep.log", "src/gen/x"):
            roots.pair.write(root, name, f"{n} {name}")
    await roots.run()
    held = {name for name, seen in roots.pair.live(roots.remote).items() if seen is not None}
    code = roots.code.name
    assert held == {
        "docs/.trueupignore", "docs/deep/build/x", "docs/keep.log",
        f"{code}/build/x", f"{code}/deep/build/x", f"{code}/z.log", f"{code}/deep/z.log", f"{code}/keep.log",
        f"{code}/src/gen/x",
    }  # fmt: skip
    assert not (await roots.plan()).changes


async def test_roots_of_one_name_are_refused(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    for name in ("a/docs", "b/docs"):
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(UsageError, match="named docs"):
        await pair.plan(local=(str(tmp_path / "a/docs"), str(tmp_path / "b/docs")))


LOCATIONS = [
    ("/a/b", ["/a/b"]),
    ("/a=b/c=d", ["/a=b/c=d"]),
    ("/two\nlines", ["/two\nlines"]),
    ("/two\nx=/lines", ["/two\nx=/lines"]),
    ("s3://bucket/a=b", ["s3://bucket/a=b"]),
    ("x=/a/x\ny=/b/y", ["/a/x", "/b/y"]),
    ("x=y=/a/x=y\ny=/b\nc/y", ["/a/x=y", "/b\nc/y"]),
    ("x=memory://x=1/x\ny=/y", ["memory://x=1/x", "/y"]),
]


@pytest.mark.parametrize(("location", "parts"), LOCATIONS)
def test_a_location_is_taken_apart_as_it_was_put_together(location: str, parts: list[str]) -> None:
    assert places(location) == parts
