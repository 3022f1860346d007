"""What the store of folders does beyond the contract: races inside a write, the trash, killed runs, names and links."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from trueup.core.errors import (
    AccessDenied,
    Corrupt,
    Locked,
    NotFound,
    PreconditionFailed,
    StoreError,
    Unaddressable,
    UsageError,
)
from trueup.core.model import DIRECTORY_TOKEN, Content, Entry, Fingerprint, Key, Kind, Row, Token, key_bytes
from trueup.engine.ambient import Ambient
from trueup.engine.filter import PatternFilter
from trueup.protocols import Opening, Source, Trash
from trueup.stores.file import FileStore, open_url, place
from trueup.stores.file.scan import Scan
from trueup.stores.file.trash import Kept
from trueup.stores.file.write import Folder

RUN = Trash("run")


def content(data: bytes, **options: Any) -> Source:
    @contextmanager
    def opened() -> Iterator[Iterator[bytes]]:
        yield iter([data] if data else [])

    return Source(opened, options.pop("size", len(data)), **options)


def digest(data: bytes) -> Fingerprint:
    return Fingerprint("blake3", blake3(data).hexdigest())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


@pytest.fixture
def folder(root: Path) -> Folder:
    numbers = count()
    return Folder(str(root), str(root / ".trueup/trash"), lambda: f"{os.getpid()}-{next(numbers)}")


@pytest.fixture
def store(root: Path) -> FileStore:
    ambient = Ambient()
    return FileStore(str(root), threads=ambient.threads, unique=ambient.unique)


def token(path: Path) -> Token:
    return place.token_of(path.lstat())


def put(root: Path, name: str, data: bytes) -> Token:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return token(path)


def trashed(folder: Folder) -> dict[str, bytes]:
    return {item.handle: (Path(folder.trash) / item.handle).read_bytes() for item in folder.kept()}


def temporaries(root: Path) -> list[str]:
    return [path.name for path in root.rglob(place.TEMPORARY + "*")]


def scan(root: Path, **options: Any) -> list[Row]:
    return [row for batch in Scan(str(root), **options).batches() for row in batch]


# -- directories that hold no file -------------------------------------------------------------------------------------


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_file_takes_the_place_of_directories_in_directories(folder: Folder, root: Path, exchanges: bool) -> None:
    folder.exchanges = exchanges
    (root / "d/e/f").mkdir(parents=True)
    (root / "d/g").mkdir()
    folder.write(Key("d"), content(b"1"), DIRECTORY_TOKEN, RUN)
    assert (root / "d").read_bytes() == b"1"
    assert not temporaries(root)


@pytest.mark.parametrize("exchanges", [True, False])
@pytest.mark.parametrize("what", ["file", "link"])
def test_directories_with_anything_deep_down_stay(folder: Folder, root: Path, what: str, exchanges: bool) -> None:
    folder.exchanges = exchanges
    (root / "d/e/f").mkdir(parents=True)
    (root / "d/g").mkdir()
    (root / "d/e/f/x").write_bytes(b"") if what == "file" else (root / "d/e/f/x").symlink_to(root)
    with pytest.raises((PreconditionFailed, StoreError)):
        folder.write(Key("d"), content(b"1"), DIRECTORY_TOKEN, RUN)
    assert sorted(path.name for path in (root / "d").rglob("*")) == ["e", "f", "g", "x"]
    assert not temporaries(root)


# -- tokens ----------------------------------------------------------------------------------------------------------


def test_every_edit_changes_the_token(root: Path) -> None:
    seen = {put(root, "a", b"one")}
    path = root / "a"
    then = path.stat().st_mtime_ns
    path.write_bytes(b"two")
    os.utime(path, ns=(then, then))  # the same size and time: the change time tells
    seen.add(token(path))
    path.write_bytes(b"three")
    seen.add(token(path))
    (root / "b").write_bytes(b"three")
    (root / "b").rename(path)
    seen.add(token(path))
    assert len(seen) == 4


def test_reading_does_not_change_the_token(root: Path) -> None:
    before = put(root, "a", b"one")
    (root / "a").read_bytes()
    os.link(root / "a", root / "other")
    (root / "other").unlink()
    assert scan(root)[0][1] != "?"
    assert token(root / "a").rpartition("-")[0] == before.rpartition("-")[0]


def test_what_was_written_is_remembered_and_not_what_is_there_afterwards(folder: Folder, root: Path) -> None:
    written = folder.write(Key("a"), content(b"ours"), None, RUN)
    assert written.token == token(root / "a")
    assert written.fingerprint == digest(b"ours")


@pytest.mark.parametrize("expect_old", [False, True])
def test_an_edit_in_the_instant_after_the_write_is_not_remembered_as_ours(
    folder: Folder, root: Path, monkeypatch: pytest.MonkeyPatch, *, expect_old: bool
) -> None:
    old = put(root, "a", b"old") if expect_old else None
    name = "exchange" if expect_old else "rename_new"
    real = getattr(place, name)

    def then_edit(*arguments: Any) -> Any:
        result = real(*arguments)
        monkeypatch.setattr(place, name, real)
        with (root / "a").open("ab") as file:
            file.write(b" and theirs")
        return result

    monkeypatch.setattr(place, name, then_edit)
    written = folder.write(Key("a"), content(b"ours"), old, RUN)
    assert (root / "a").read_bytes() == b"ours and theirs"
    assert written.token != token(root / "a")


# -- refusing a lost race --------------------------------------------------------------------------------------------


def test_a_write_that_expects_another_version_changes_nothing(folder: Folder, root: Path) -> None:
    old = put(root, "a", b"old")
    put(root, "a", b"theirs, longer")
    with pytest.raises(PreconditionFailed):
        folder.write(Key("a"), content(b"ours"), old, RUN)
    with pytest.raises(PreconditionFailed):
        folder.write(Key("a"), content(b"ours"), None, RUN)
    with pytest.raises(PreconditionFailed):
        folder.remove(Key("a"), old, RUN)
    with pytest.raises(PreconditionFailed):
        folder.write(Key("b"), content(b"ours"), old, RUN)
    assert [path.name for path in root.iterdir()] == ["a"]
    assert (root / "a").read_bytes() == b"theirs, longer"


REPLACING: dict[str, Callable[[Folder, Token], object]] = {
    "write": lambda folder, old: folder.write(Key("a"), content(b"new"), old, RUN),
    "remove": lambda folder, old: folder.remove(Key("a"), old, RUN),
    "directory": lambda folder, old: folder.make_directory(Key("a/"), old, RUN),
}


@pytest.mark.parametrize(
    ("action", "where", "name", "exchanges"),
    [
        ("write", place, "exchange", True),
        ("write", Kept, "take", False),
        ("directory", place, "exchange", True),
        ("directory", os, "rename", False),
    ],
)
def test_a_file_that_is_deleted_in_the_last_instant_is_a_lost_race(
    folder: Folder, root: Path, monkeypatch: pytest.MonkeyPatch, action: str, where: object, name: str, exchanges: bool
) -> None:
    folder.exchanges = exchanges
    old = put(root, "a", b"old")
    real = getattr(where, name)

    def too_late(*arguments: Any, **options: Any) -> Any:
        (root / "a").unlink(missing_ok=True)
        return real(*arguments, **options)

    monkeypatch.setattr(where, name, too_late)
    with pytest.raises(PreconditionFailed):
        REPLACING[action](folder, old)
    assert not list(root.glob("[!.]*"))
    assert not temporaries(root)


def test_a_file_that_is_deleted_between_the_look_and_the_removal_is_a_lost_race(
    folder: Folder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = put(root, "a", b"old")
    real = os.rename

    def too_late(*arguments: Any, **options: Any) -> None:
        (root / "a").unlink()
        real(*arguments, **options)

    monkeypatch.setattr(os, "rename", too_late)
    with pytest.raises(PreconditionFailed):
        folder.remove(Key("a"), old, RUN)
    assert not folder.kept()


def test_directories_are_made_when_the_content_has_arrived_and_not_before(folder: Folder, root: Path) -> None:
    seen: list[bool] = []

    @contextmanager
    def opened() -> Iterator[Iterator[bytes]]:
        seen.append((root / "new").exists())
        yield iter([b"x"])

    folder.write(Key("new/deep/a"), Source(opened, 1), None, None)
    assert seen == [False]
    assert (root / "new/deep/a").read_bytes() == b"x"


def test_a_refused_directory_leaves_no_directories_behind(folder: Folder, root: Path) -> None:
    with pytest.raises(PreconditionFailed):
        folder.make_directory(Key("new/deep/"), Token("invented"), RUN)
    assert list(root.iterdir()) == []


def test_a_reader_in_a_loop_sees_the_old_version_or_the_new_one(folder: Folder, root: Path) -> None:
    now = put(root, "a", b"0" * 1000)
    reader = "import sys\nwhile True:\n data = open(sys.argv[1],'rb').read()\n assert len(data)==1000, len(data)\n"
    process = subprocess.Popen(["python3", "-c", reader, root / "a"], stderr=subprocess.PIPE)
    try:
        for n in range(200):
            written = folder.write(Key("a"), content(bytes([n]) * 1000), now, None)
            assert written.token is not None
            now = written.token
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def no_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that knows neither exchange nor no-replace."""

    def refuse(*_: Any) -> None:
        raise OSError(errno.EINVAL, "not supported")

    monkeypatch.setattr(place, "_rename", refuse)


@pytest.mark.usefixtures("no_exchange")
def test_without_exchange_versions_are_still_checked_and_kept(folder: Folder, root: Path) -> None:
    old = put(root, "a", b"old")
    assert folder.write(Key("a"), content(b"new"), old, RUN).kept == "run/0/a"
    assert (root / "a").read_bytes() == b"new"
    assert trashed(folder) == {"run/0/a": b"old"}
    assert folder.write(Key("b"), content(b"b"), None, RUN).kept is None
    with pytest.raises(PreconditionFailed):
        folder.write(Key("b"), content(b"c"), None, RUN)
    with pytest.raises(PreconditionFailed):
        folder.write(Key("a"), content(b"newer"), old, RUN)
    assert folder.remove(Key("b"), token(root / "b"), RUN).kept == "run/0/b"
    folder.write(Key("a"), content(b"unkept"), token(root / "a"), None)
    assert trashed(folder) == {"run/0/a": b"old", "run/0/b": b"b"}
    assert not temporaries(root)


@pytest.mark.usefixtures("no_exchange")
def test_without_exchange_kinds_change_too(folder: Folder, root: Path) -> None:
    old = put(root, "x", b"file")
    assert folder.make_directory(Key("x/"), old, RUN).kept == "run/0/x"
    assert (root / "x").is_dir()
    put(root, "x/in", b"theirs")
    with pytest.raises(PreconditionFailed):
        folder.write(Key("x"), content(b"flat"), DIRECTORY_TOKEN, RUN)
    (root / "x/in").unlink()
    folder.write(Key("x"), content(b"flat"), DIRECTORY_TOKEN, RUN)
    assert (root / "x").read_bytes() == b"flat"
    assert not temporaries(root)


@pytest.mark.usefixtures("no_exchange")
def test_without_exchange_an_edit_before_the_rename_is_refused(
    folder: Folder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = put(root, "a", b"old")
    real = os.link

    def edit_first(*arguments: Any, **options: Any) -> None:
        monkeypatch.setattr(os, "link", real)
        put(root, "a", b"theirs, longer")
        real(*arguments, **options)

    monkeypatch.setattr(os, "link", edit_first)
    with pytest.raises(PreconditionFailed):
        folder.write(Key("a"), content(b"new"), old, RUN)
    assert (root / "a").read_bytes() == b"theirs, longer"
    assert not temporaries(root)


@pytest.mark.usefixtures("no_exchange")
async def test_a_store_that_cannot_exchange_says_so(store: FileStore, root: Path) -> None:
    assert store.properties.refuses_lost_races
    await store.write(Key("a"), content(b"new"), expect=put(root, "a", b"old"), trash=RUN)
    assert not store.properties.refuses_lost_races
    assert "cannot exchange" in store.properties.notices[0]


# -- when a step in the middle fails ---------------------------------------------------------------------------------


@pytest.mark.parametrize("action", REPLACING)
def test_a_version_that_the_trash_cannot_take_stays_under_its_name(
    folder: Folder, root: Path, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    old = put(root, "a", b"old")

    def full(*_: Any, **__: Any) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Kept, "take", full)
    with pytest.raises(StoreError):
        REPLACING[action](folder, old)
    assert (root / "a").read_bytes() == b"old"
    assert not temporaries(root)


def test_a_trash_on_another_file_system_destroys_nothing(root: Path, tmp_path: Path) -> None:
    elsewhere = Path("/dev/shm")  # noqa: S108  # not for a file of ours, for another file system
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == root.stat().st_dev:
        pytest.skip("there is no other file system at hand")
    folder = Folder(str(root), str(elsewhere / f"trueup-test-{os.getpid()}"), lambda: "u")
    old = put(root, "a", b"old")
    try:
        with pytest.raises(StoreError):
            folder.write(Key("a"), content(b"new"), old, RUN)
        assert (root / "a").read_bytes() == b"old"
        assert not temporaries(root)
    finally:
        subprocess.run(["rm", "-rf", folder.trash], check=True)


@pytest.mark.parametrize("bad", [content(b"short", size=6), content(b"other", fingerprint=digest(b"bytes"))])
def test_bytes_that_are_not_those_promised_are_not_installed(folder: Folder, root: Path, bad: Source) -> None:
    old = put(root, "a", b"old")
    with pytest.raises(Corrupt):
        folder.write(Key("a"), bad, old, RUN)
    with pytest.raises(Corrupt):
        folder.write(Key("new"), bad, None, RUN)
    assert [path.name for path in root.iterdir()] == ["a"]


def test_a_digest_of_another_algorithm_is_checked_too(folder: Folder) -> None:
    good = Fingerprint("md5", "900150983cd24fb0d6963f7d28e17f72")  # RFC 1321, A.5
    folder.write(Key("a"), content(b"abc", fingerprint=good), None, RUN)
    with pytest.raises(Corrupt):
        folder.write(Key("b"), content(b"abd", fingerprint=good), None, RUN)


def test_a_source_that_fails_leaves_nothing_behind(folder: Folder, root: Path) -> None:
    @contextmanager
    def failing() -> Iterator[Iterator[bytes]]:
        def chunks() -> Iterator[bytes]:
            yield b"some"
            raise PreconditionFailed("another version")

        yield chunks()

    with pytest.raises(PreconditionFailed):
        folder.write(Key("d/a"), Source(failing, 8), None, RUN)
    assert not temporaries(root)
    assert not (root / "d/a").exists()
    assert not folder.kept()


# -- killed at any moment --------------------------------------------------------------------------------------------

CALLS = [
    "os.fchmod",
    "os.fsync",
    "place.exchange",
    "place.rename_new",
    "os.rename",
    "os.rmdir",
    "os.unlink",
    "os.mkdir",
]
ACTIONS: dict[str, Callable[[Folder, Token], object]] = {
    "replace": lambda folder, old: folder.write(Key("d/a"), content(b"new"), old, RUN),
    "replace, unkept": lambda folder, old: folder.write(Key("d/a"), content(b"new"), old, None),
    "create": lambda folder, _: folder.write(Key("d/b"), content(b"new"), None, RUN),
    "remove": lambda folder, old: folder.remove(Key("d/a"), old, RUN),
    "directory": lambda folder, old: folder.make_directory(Key("d/a/"), old, RUN),
}


def die_at(monkeypatch: pytest.MonkeyPatch, name: str, *, after: bool) -> None:
    where: object = os if name.startswith("os.") else place
    function = name.partition(".")[2]
    real = getattr(where, function)

    def dying(*arguments: Any, **options: Any) -> None:
        if after:
            real(*arguments, **options)
        os._exit(9)  # as SIGKILL: no cleaning up

    monkeypatch.setattr(where, function, dying)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("action", ACTIONS)
def test_a_process_that_dies_at_any_call_loses_nothing(
    folder: Folder, root: Path, action: str, call: str, *, after: bool
) -> None:
    old = put(root, "d/a", b"old")
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            die_at(pytest.MonkeyPatch(), call, after=after)
            ACTIONS[action](folder, old)
        os._exit(0)
    os.waitpid(child, 0)
    leftovers = Scan(str(root))
    for _ in leftovers.batches():
        pass
    folder.clean(leftovers.leftovers)
    assert not temporaries(root)
    live = {path.read_bytes() for path in (root / "d").rglob("*") if path.is_file()}
    kept = set(trashed(folder).values())
    assert live <= {b"old", b"new"}
    assert b"old" in live | kept or (action == "replace, unkept" and live == {b"new"})
    with suppress(PreconditionFailed):  # the same again, as the next run does after a look
        ACTIONS[action](folder, token(root / "d/a") if (root / "d/a").is_file() else old)


def test_what_killed_runs_left_is_kept_under_the_name_it_was_meant_for(folder: Folder, root: Path) -> None:
    put(root, "d/.trueup-tmp-12345678.report.txt", b"the only copy")
    put(root, "d/.trueup-tmp-12345679.empty", b"")
    (root / "d/.trueup-tmp-12345670.folder").mkdir()
    put(root, "d/.trueup-tmp-12345671.full/inner", b"somebody's")
    found = Scan(str(root))
    assert [row[0] for batch in found.batches() for row in batch] == [b"d/"]
    folder.clean(found.leftovers)
    assert trashed(folder) == {"leftover/0/d/report.txt": b"the only copy", "leftover/0/d/full/inner": b"somebody's"}
    assert not temporaries(root / "d")


def test_a_leftover_that_cannot_be_kept_does_not_stop_the_others(
    folder: Folder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(root, ".trueup-tmp-1.a", b"a")
    put(root, ".trueup-tmp-2.b", b"b")
    real = Folder._move_to_trash

    def failing(self: Folder, dir_fd: int, name: str, key: Key, run: str) -> str:
        if key == "a":
            raise PermissionError(errno.EACCES, "no")
        return real(self, dir_fd, name, key, run)

    monkeypatch.setattr(Folder, "_move_to_trash", failing)
    assert folder.clean([".trueup-tmp-1.a", ".trueup-tmp-2.b"]) == ["leftover/0/b"]
    assert temporaries(root) == [".trueup-tmp-1.a"]


# -- kinds -----------------------------------------------------------------------------------------------------------


def test_a_directory_that_is_not_empty_gives_way_to_no_file(folder: Folder, root: Path) -> None:
    put(root, "x/in", b"theirs")
    with pytest.raises(PreconditionFailed):
        folder.write(Key("x"), content(b"flat"), DIRECTORY_TOKEN, RUN)
    with pytest.raises(PreconditionFailed):
        folder.remove(Key("x/"), DIRECTORY_TOKEN, RUN)
    assert (root / "x/in").read_bytes() == b"theirs"
    assert not temporaries(root)


def test_what_is_put_into_a_directory_while_it_is_swapped_back_is_kept(
    folder: Folder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = put(root, "x", b"file")
    real = place.exchange
    calls: list[int] = []

    def meddled(*arguments: Any) -> bool:
        calls.append(1)
        if len(calls) == 1:
            put(root, "x", b"edited, so that the exchange is lost")
        elif len(calls) == 2:
            put(root, "x/in", b"into the directory that had the name for a moment")
        return real(*arguments)

    monkeypatch.setattr(place, "exchange", meddled)
    with pytest.raises(PreconditionFailed):
        folder.make_directory(Key("x/"), old, RUN)
    assert (root / "x").read_bytes() == b"edited, so that the exchange is lost"
    assert list(trashed(folder).values()) == [b"into the directory that had the name for a moment"]
    assert not temporaries(root)


def test_making_a_directory_twice_and_removing_it_twice_is_no_error(folder: Folder, root: Path) -> None:
    folder.make_directory(Key("d/e/"), None, RUN)
    folder.make_directory(Key("d/e/"), None, RUN)
    folder.remove(Key("d/e/"), DIRECTORY_TOKEN, RUN)
    folder.remove(Key("d/e/"), DIRECTORY_TOKEN, RUN)
    assert not (root / "d/e").exists()
    put(root, "f", b"a file")
    with pytest.raises(PreconditionFailed):
        folder.make_directory(Key("f/"), None, RUN)


# -- mode and time ---------------------------------------------------------------------------------------------------


def test_a_new_file_gets_mode_and_time_of_its_source(folder: Folder, root: Path) -> None:
    folder.write(Key("a"), content(b"x", modified_ns=1_500_000_000_123_456_789, mode=0o640), None, RUN)
    status = (root / "a").stat()
    assert stat.S_IMODE(status.st_mode) == 0o640
    assert status.st_mtime_ns == 1_500_000_000_123_456_789


def test_a_source_without_a_mode_gets_what_the_umask_leaves(folder: Folder, root: Path) -> None:
    before = os.umask(0o027)
    try:
        folder.write(Key("a"), content(b"x"), None, RUN)
    finally:
        os.umask(before)
    assert stat.S_IMODE((root / "a").stat().st_mode) == 0o640


def test_a_replaced_file_keeps_its_mode_and_its_old_version_its_time(folder: Folder, root: Path) -> None:
    put(root, "a", b"old")
    (root / "a").chmod(0o751)
    os.utime(root / "a", ns=(1, 1_400_000_000_000_000_000))
    folder.write(Key("a"), content(b"new", mode=0o600), token(root / "a"), RUN)
    assert stat.S_IMODE((root / "a").stat().st_mode) == 0o751
    kept = (Path(folder.trash) / "run/0/a").stat()
    assert (stat.S_IMODE(kept.st_mode), kept.st_mtime_ns) == (0o751, 1_400_000_000_000_000_000)


# -- names and links -------------------------------------------------------------------------------------------------

IMPOSSIBLE = [
    "../e", "a/../../e", "/lead", "a//b", "", "/", ".", "..", "a/./b", "nul\0", ".trueup/x", ".trueup", ".trueup/",
    "a/.trueup-tmp-x", "n" * 256, "\u00e9" * 128,
]  # fmt: skip


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_name_that_a_folder_cannot_hold_is_refused_by_every_operation(folder: Folder, root: Path, name: str) -> None:
    (root.parent / "e").write_bytes(b"outside")
    outside = token(root.parent / "e")
    key = Key(name)
    for act in (
        lambda: folder.write(key, content(b"x"), None, RUN),
        lambda: folder.write(key, content(b"x"), outside, RUN),
        lambda: folder.make_directory(Key(name.rstrip("/") + "/"), None, RUN),
        lambda: folder.remove(key, outside, RUN),
        lambda: folder.fingerprint(key, outside),
    ):
        with pytest.raises(Unaddressable):
            act()
    assert place.problem(key)
    assert (root.parent / "e").read_bytes() == b"outside"
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("handle", ["../../e", "/etc/passwd", "run/0/../../../../../e", ""])
def test_a_handle_cannot_leave_the_trash(folder: Folder, root: Path, handle: str) -> None:
    (root.parent / "e").write_bytes(b"outside")
    with pytest.raises(StoreError), folder.reading_kept(handle) as chunks:
        next(chunks)
    with pytest.raises(StoreError):
        folder.prune(handle)
    assert (root.parent / "e").exists()


def test_a_link_in_the_way_is_never_followed(folder: Folder, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    put(outside, "a", b"not ours")
    (root / "d").symlink_to(outside)
    (root / "l").symlink_to(outside / "a")
    inside = token(outside / "a")
    for act in (
        lambda: folder.write(Key("d/new"), content(b"x"), None, RUN),
        lambda: folder.write(Key("d/a"), content(b"x"), inside, RUN),
        lambda: folder.write(Key("l"), content(b"x"), inside, RUN),
        lambda: folder.remove(Key("d/a"), inside, RUN),
        lambda: folder.remove(Key("l"), inside, RUN),
        lambda: folder.make_directory(Key("d/sub/"), None, RUN),
        lambda: folder.make_directory(Key("d/"), None, RUN),
        lambda: folder.fingerprint(Key("d/a"), inside),
        lambda: folder.fingerprint(Key("l"), inside),
    ):
        with pytest.raises(PreconditionFailed):
            act()
    assert [path.name for path in outside.iterdir()] == ["a"]
    assert (outside / "a").read_bytes() == b"not ours"
    assert (root / "l").is_symlink()
    assert not temporaries(root)


async def test_a_look_below_a_link_finds_nothing(store: FileStore, root: Path, tmp_path: Path) -> None:
    put(tmp_path / "outside", "a", b"not ours")
    (root / "d").symlink_to(tmp_path / "outside")
    put(root, "f", b"file")
    assert await store.stat(Key("d/a")) is None
    assert await store.stat(Key("f/below")) is None
    assert await store.stat(Key("f/")) is None
    assert await store.stat(Key("../outside/a")) is None
    with pytest.raises(StoreError):
        await store.stat(Key("d"))


def test_listing_shows_links_and_pipes_as_skipped_and_goes_nowhere(root: Path, tmp_path: Path) -> None:
    put(tmp_path / "outside", "a", b"not ours")
    (root / "link").symlink_to(tmp_path / "outside")
    os.mkfifo(root / "pipe")
    assert [(row[0], row[2], row[6]) for row in scan(root)] == [
        (b"link", Kind.SKIPPED, "symbolic link"),
        (b"pipe", Kind.SKIPPED, "named pipe"),
    ]


def test_a_listing_is_in_the_order_of_bytes(root: Path) -> None:
    for name in ("a/b", "a!x", "a.b", "a0", "\U0001f600", "\uffee"):
        put(root, name, b"x")
    (root / os.fsdecode(b"\xff")).write_bytes(b"x")
    keys = [row[0] for row in scan(root)]
    assert keys == sorted(keys)
    assert len(keys) == len(set(keys))


def test_a_listing_is_complete_over_many_batches(root: Path) -> None:
    for n in range(50):
        (root / f"{n:02}").mkdir()
        for m in range(100):
            (root / f"{n:02}/{m}").touch()
    batches = list(Scan(str(root)).batches())
    assert sum(map(len, batches)) == 50 * 101
    assert len(batches) > 2
    keys = [row[0] for batch in batches for row in batch]
    assert keys == sorted(keys)


def test_a_listing_that_is_given_up_closes_what_it_opened(root: Path) -> None:
    for n in range(3000):
        (root / str(n)).touch()
    put(root, "d/e/f", b"x")
    before = len(list(Path("/proc/self/fd").iterdir()))
    batches = Scan(str(root)).batches()
    next(batches)
    batches.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_an_excluded_item_is_counted_in_its_directory_and_not_listed(root: Path) -> None:
    put(root, "d/a.log", b"x")
    put(root, "d/a.txt", b"xx")
    put(root, "big", b"x" * 100)
    rows = scan(root, filter=PatternFilter(exclude=["*.log"], max_size=50))
    assert [(row[0], row[2], row[3]) for row in rows] == [
        (b"big", Kind.FILTERED, 100),
        (b"d/", Kind.DIRECTORY, 1),
        (b"d/a.txt", Kind.FILE, 2),
    ]


# -- trash -----------------------------------------------------------------------------------------------------------


def test_versions_of_one_name_have_handles_of_their_own(folder: Folder, root: Path) -> None:
    handles = [folder.remove(Key("d/a"), put(root, "d/a", data), RUN).kept for data in (b"one", b"two", b"three")]
    assert len(set(handles)) == 3
    assert sorted(trashed(folder).values()) == [b"one", b"three", b"two"]


def test_a_name_that_is_a_file_and_a_directory_in_turn_is_kept_twice(folder: Folder, root: Path) -> None:
    first = folder.remove(Key("x"), put(root, "x", b"file"), RUN).kept
    second = folder.remove(Key("x/in"), put(root, "x/in", b"inner"), RUN).kept
    (root / "x").rmdir()
    third = folder.remove(Key("x"), put(root, "x", b"file again"), RUN).kept
    assert trashed(folder) == {first: b"file", second: b"inner", third: b"file again"}
    assert {item.key for item in folder.kept()} == {"x", "x/in"}


def test_odd_names_come_back_out_of_the_trash(folder: Folder, root: Path) -> None:
    names = [os.fsdecode(b"caf\xe9"), "two\nlines", "d/-rf", "n" * 255, " "]
    for name in names:
        folder.remove(Key(name), put(root, name, name.encode("utf-8", "surrogateescape")), RUN)
    for item in folder.kept():
        with folder.reading_kept(item.handle) as chunks:
            assert b"".join(chunks) == key_bytes(item.key)
    assert {item.key for item in folder.kept()} == set(names)


def test_pruning_removes_the_directories_that_it_empties(folder: Folder, root: Path) -> None:
    one = folder.remove(Key("d/e/a"), put(root, "d/e/a", b"one"), RUN).kept
    two = folder.remove(Key("d/b"), put(root, "d/b", b"two"), RUN).kept
    assert one is not None
    assert two is not None
    folder.prune(one)
    assert trashed(folder) == {two: b"two"}
    assert not (Path(folder.trash) / "run/0/d/e").exists()
    folder.prune(two)
    assert list(Path(folder.trash).iterdir()) == []
    with pytest.raises(NotFound):
        folder.prune(two)


def test_a_trash_that_is_not_there_is_empty(folder: Folder) -> None:
    assert folder.kept() == []


def test_the_trash_is_nobody_elses_to_read(folder: Folder, root: Path) -> None:
    folder.remove(Key("a"), put(root, "a", b"private"), RUN)
    assert stat.S_IMODE(Path(folder.trash).stat().st_mode) == 0o700


# -- identity and lock -----------------------------------------------------------------------------------------------


async def test_an_identity_is_set_once(store: FileStore) -> None:
    assert await store.marker() is None
    assert await store.set_marker("first") == "first"
    assert await store.set_marker("second") == "first"
    assert await store.marker() == "first"


@pytest.fixture
def other(root: Path) -> FileStore:
    """The same folder, opened once more."""
    ambient = Ambient()
    return FileStore(str(root), threads=ambient.threads, unique=ambient.unique)


async def test_a_root_is_held_by_one_run_at_a_time(store: FileStore, other: FileStore) -> None:
    async with store.hold("me"):
        with pytest.raises(Locked) as locked:
            async with other.hold("you"):
                pass
        assert locked.value.why == "me"
    async with other.hold("you"):
        pass


async def test_an_error_of_the_system_is_an_error_of_ours(store: FileStore, root: Path) -> None:
    root.rename(root.parent / "gone")
    for call in (store.free_bytes, store.kept, store.marker, store.flush):
        with suppress(StoreError):
            await call()
    with pytest.raises(NotFound):
        async for _ in store.scan():
            pass


async def test_writes_survive_a_loss_of_power_once_they_are_flushed(
    store: FileStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    await store.write(Key("d/a"), content(b"x"), expect=None, trash=RUN)
    assert len(synced) == 1  # the file, before it had its name
    await store.flush()
    assert synced[1:] == [str(root / "d")]
    await store.flush()
    assert len(synced) == 2
    await store.write(Key("e/a"), content(b"x"), expect=None, trash=RUN)
    (root / "e").rename(root / "f")
    await store.flush()  # a directory that is gone is not ours to sync


# -- opening ---------------------------------------------------------------------------------------------------------


def opening() -> Opening:
    ambient = Ambient()
    return Opening(ambient.clock, ambient.threads, ambient.unique)


def test_a_url_names_a_folder(root: Path) -> None:
    odd = root / "two words%"
    odd.mkdir()
    assert open_url(odd.as_uri(), opening()).root == str(odd)
    assert open_url(f"file://localhost{root}", opening()).root == str(root)
    assert open_url(str(odd), opening()).root == str(odd)
    with pytest.raises(UsageError):
        open_url("file://server/share", opening())


def test_a_root_that_is_none_is_refused(root: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        open_url(str(root / "nowhere"), opening())
    put(root, "file", b"x")
    with pytest.raises(NotFound, match="not a folder"):
        open_url(str(root / "file"), opening())


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_root_that_cannot_be_read_is_refused(root: Path) -> None:
    root.chmod(0)
    try:
        with pytest.raises(AccessDenied):
            open_url(str(root), opening())
    finally:
        root.chmod(0o755)


async def test_one_version_is_read_and_no_other(store: FileStore, root: Path) -> None:
    version = put(root, "a", b"one")
    source = store.source(Key("a"), Entry(version, Content(Kind.FILE, 3)))
    assert await store.fingerprint(Key("a"), version) == digest(b"one")
    with source.open() as chunks:
        put(root, "a", b"two!")
        with pytest.raises(PreconditionFailed):
            list(chunks)
    with pytest.raises(PreconditionFailed), source.open() as chunks:
        list(chunks)
    with pytest.raises(PreconditionFailed):
        await store.fingerprint(Key("a"), version)
    (root / "a").unlink()
    with pytest.raises(NotFound):
        await store.fingerprint(Key("a"), version)


def test_chunks_are_small(folder: Folder, root: Path) -> None:
    version = put(root, "a", b"x" * (3 * place.CHUNK + 1))
    with folder.reading(Key("a"), version) as chunks:
        assert [len(chunk) for chunk in chunks] == [place.CHUNK] * 3 + [1]
