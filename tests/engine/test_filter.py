"""Patterns mean what git says, by whichever way they are matched; sizes and defaults."""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path

import pytest
from pathspec import GitIgnoreSpec

from trueup.engine.filter import DEFAULT_EXCLUDES, Below, PatternFilter, read_ignore_file
from trueup.stores.file.scan import Scan

PATTERNS: list[tuple[str, ...]] = [
    ("*.log",), ("*.log", "*.tmp"), ("build",), ("build/",), ("/build",), ("/build/",), ("src/*.o",), ("src/**/gen",),
    ("**/cache",), ("a/**",), ("*",), ("*", "!*.txt"), ("*.log", "!keep.log"), ("*.log", "!keep.log", "keep.log"),
    ("?",), ("??.txt",), ("[ab]*",), ("[!a]*",), ("[^a]*",), ("[a-c].txt",), ("\\!bang",), ("\\#hash",),
    ("#comment",), ("",), ("   ",), ("trailing ",), ("trailing\\ ",), ("*~",), (".*.sw?",), (".*",), ("**",),
    ("***",), ("a*b*c",), ("dir/", "*.x"), ("a[",), ("a]",), ("[]a]",), ("[a",), ("a\\*b",), ("CASE.txt",),
    ("caf\u00e9",), ("-rf",), ("*.[oa]",), ("*.tar.*",), ("/",), ("//",), ("foo//",), ("{a,b}",), ("a+b",), ("a.b",),
    ("(x)",), ("^x",), ("x$",), ("x|y",), DEFAULT_EXCLUDES,
]  # fmt: skip
NAMES = [
    "a", "b", "ab", "abc", "build", "src", "gen", "cache", "x.log", "keep.log", "a.txt", "b.txt", "zz.txt", "x.o",
    "y.a", "!bang", "#hash", "#comment", "trailing", "trailing ", "notes~", ".a.swp", ".hidden", "aXbYc", "dir",
    "q.x", "a[", "a]", "]", "[a", "a*b", "case.txt", "caf\u00e9", os.fsdecode(b"caf\xe9"), "-rf", "x.tar.gz", "foo",
    "a+b", "axb", "a.b", "(x)", "^x", "x$", "x|y", "x", "{a,b}", "Thumbs.db", ".git", "__pycache__", "m.pyc",
]  # fmt: skip


def tree_of(spec: GitIgnoreSpec, base: str = "", depth: int = 0) -> set[str]:
    """What remains of a tree with all names at three levels, when git's patterns decide."""
    kept = set()
    for name in NAMES:
        path = base + name
        if not spec.match_file(path):
            kept.add(path)
        if depth < 1 and not spec.match_file(path + "/"):
            kept.add(path + "/")
            kept |= tree_of(spec, path + "/", depth + 1)
    return kept


def tree_by(chosen: PatternFilter, base: str = "", depth: int = 0) -> set[str]:
    kept = set()
    for name in NAMES:
        path = base + name
        if not chosen.excludes(path, directory=False):
            kept.add(path)
        if depth < 1 and not chosen.excludes(path, directory=True):
            kept.add(path + "/")
            kept |= tree_by(chosen, path + "/", depth + 1)
    return kept


@pytest.mark.parametrize("patterns", PATTERNS, ids=" ".join)
def test_a_pattern_excludes_what_git_ignores(patterns: tuple[str, ...]) -> None:
    assert tree_by(PatternFilter(exclude=patterns)) == tree_of(GitIgnoreSpec.from_lines(patterns))


@pytest.mark.parametrize("patterns", PATTERNS, ids=" ".join)
def test_a_folder_that_needs_no_questions_excludes_nothing(patterns: tuple[str, ...]) -> None:
    chosen = PatternFilter(exclude=patterns)
    for name in NAMES:
        if chosen.excludes_none(f"\0{name}\0"):
            assert not chosen.excludes(name, directory=False), name
            assert not chosen.excludes(name, directory=True), name


def test_only_included_files_belong_and_every_folder_is_searched() -> None:
    chosen = PatternFilter(include=["*.txt", "/only/**"], exclude=["secret.txt"])
    assert not chosen.excludes("d/a.txt", directory=False)
    assert not chosen.excludes("only/x.bin", directory=False)
    assert chosen.excludes("d/only/x.bin", directory=False)
    assert chosen.excludes("d/secret.txt", directory=False)
    assert not chosen.excludes("d", directory=True)
    assert not chosen.excludes_none("\0a.bin\0")


@pytest.mark.parametrize(("size", "out"), [(0, True), (9, True), (10, False), (20, False), (21, True)])
def test_sizes_are_bounds_that_belong(size: int, *, out: bool) -> None:
    assert PatternFilter(min_size=10, max_size=20).excludes_size(size) is out
    assert PatternFilter().excludes_size(size) is False


def test_an_ignore_file_is_read_without_comments() -> None:
    assert read_ignore_file("# all\n\n*.log\n  # more\n!keep.log\r\n") == ["*.log", "!keep.log"]


ROOTED = [
    ("*.log", ["docs/a.log", "docs/x/a.log"], ["other/a.log"]),
    ("/build", ["docs/build"], ["docs/x/build", "other/build", "build"]),
    ("src/gen", ["docs/src/gen"], ["other/src/gen", "docs/x/src/gen"]),
    ("build/", ["docs/build", "docs/x/build"], ["other/build"]),
]


@pytest.mark.parametrize(("pattern", "inside", "outside"), ROOTED)
def test_the_ignore_file_of_one_root_speaks_of_that_root(pattern: str, inside: list[str], outside: list[str]) -> None:
    chosen = PatternFilter(exclude=read_ignore_file(pattern, root="docs"))
    for path, expected in [*((path, True) for path in inside), *((path, False) for path in outside)]:
        assert chosen.excludes(path, directory=True) is expected, path


def test_a_root_with_a_name_like_a_pattern_is_taken_literally() -> None:
    chosen = PatternFilter(exclude=read_ignore_file("*.log\n!keep.log", root="d[o]c*"))
    assert chosen.excludes("d[o]c*/a.log", directory=False)
    assert not chosen.excludes("d[o]c*/keep.log", directory=False)
    assert not chosen.excludes("docs/a.log", directory=False)


def test_a_filter_below_a_root_sees_the_whole_name() -> None:
    below = Below("docs", PatternFilter(exclude=["/docs/build", "src/x"], max_size=5))
    assert below.excludes("build", directory=True)
    assert not below.excludes("src/x", directory=False)
    assert below.excludes_size(6)


@pytest.mark.parametrize("patterns", [("*.log",), ("/d/x.log",), DEFAULT_EXCLUDES, ()])
def test_a_scan_lists_what_the_filter_leaves(tmp_path: Path, patterns: tuple[str, ...]) -> None:
    for folder, name in product(("", "d/", "d/e/"), ("a", "x.log", ".git/config", "b~", "m.pyc")):
        path = tmp_path / (folder + name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    chosen = PatternFilter(exclude=patterns)
    listed = {os.fsdecode(row[0]) for batch in Scan(str(tmp_path), chosen).batches() for row in batch}
    spec = GitIgnoreSpec.from_lines(patterns)
    expected = set()
    for path in tmp_path.rglob("*"):
        name = str(path.relative_to(tmp_path)) + ("/" if path.is_dir() else "")
        if not spec.match_file(name):
            expected.add(name)
    assert listed == expected
