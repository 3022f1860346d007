"""What goes wrong outside: each has its own message and exit code, changes nothing, and is over once it is mended."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.engine.pair import Pair

from trueup.core.model import REMOTE
from trueup.core.reconcile import Reason
from trueup.core.report import EXIT_PARTIAL, exit_code
from trueup.stores.memory import MemoryStore
from trueup.testing.clock import LogicalClock

NOBODY = 65534
CI = os.environ.get("CI") == "true"


@dataclass
class Desk:
    """Two folders, a state, and the command over them."""

    base: Path
    state: Path
    prefix: tuple[str, ...] = ()
    """Runs the command as somebody else."""
    flags: tuple[str, ...] = field(default=("--deletes", "propagate"))

    def __post_init__(self) -> None:
        for side in (self.local, self.remote):
            side.mkdir(exist_ok=True)
            side.chmod(0o777)

    @property
    def local(self) -> Path:
        return self.base / "local"

    @property
    def remote(self) -> Path:
        return self.base / "remote"

    def write(self, side: Path, name: str, text: str) -> Path:
        path = side / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        then = time.time() - 3600
        os.utime(path, (then, then))
        return path

    def fill(self) -> None:
        """Twelve files, agreed on."""
        for number in range(12):
            self.write(self.local, f"file-{number}.txt", f"content {number}")
        self.sync()
        assert self.seen() == (self.names(self.local), self.names(self.local))

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "TRUEUP_STATE": str(self.state), "HOME": str(self.base)}
        argv = [*self.prefix, sys.executable, "-m", "trueup", *words]
        return subprocess.run(argv, capture_output=True, text=True, env=environment, cwd="/", check=False)

    def folders(self) -> tuple[str, ...]:
        return "folder", str(self.local), str(self.remote)

    def sync(self, *flags: str, code: int = 0) -> str:
        """One run; what it said on stderr."""
        result = self.run("sync", *self.folders(), "--yes", *self.flags, *flags)
        assert result.returncode == code, f"{result.returncode}\n{result.stdout}\n{result.stderr}"
        assert "Traceback" not in result.stderr
        return result.stderr

    def names(self, side: Path) -> dict[str, str]:
        return {
            str(path.relative_to(side)): path.read_text()
            for path in side.rglob("*")
            if path.is_file() and ".trueup" not in path.parts
        }

    def seen(self) -> tuple[dict[str, str], dict[str, str]]:
        return self.names(self.local), self.names(self.remote)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, tmp_path / "state")


@pytest.fixture
def guest() -> Iterator[Desk]:
    """A desk whose command runs without the superuser's rights."""
    base = Path(tempfile.mkdtemp(prefix="trueup-test-"))
    base.chmod(0o777)
    prefix: tuple[str, ...] = ()
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            assert not CI, "setpriv is missing"
            pytest.skip("the superuser may read everything, and setpriv, to become somebody else, is not installed")
        prefix = (setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        probe = subprocess.run(
            [*prefix, sys.executable, "-c", "import trueup"], capture_output=True, text=True, check=False
        )
        if probe.returncode:
            assert not CI, probe.stderr
            pytest.skip(f"this Python cannot be run by anybody else: {probe.stderr.strip()[-200:]}")
    (base / "state").mkdir(mode=0o777)
    (base / "state").chmod(0o777)
    yield Desk(base, base / "state" / "own", prefix)
    for path in [base, *base.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o777)
    shutil.rmtree(base)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB."""
    where = tmp_path / "small disk"
    where.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only the superuser may mount a small disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(where)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mounting is not permitted here: {mounted.stderr.decode().strip()}")
    yield where
    subprocess.run(["umount", "--lazy", str(where)], check=True)


# -- folders -------------------------------------------------------------------------------------------------------


def test_a_missing_folder_is_named_with_the_way_out_and_nothing_is_deleted(desk: Desk) -> None:
    desk.fill()
    desk.remote.rename(desk.base / "unmounted")
    said = desk.sync(code=1)
    assert f"error[TU-NOT-FOUND]: {desk.remote} does not exist" in said
    assert "try: " in said
    assert len(desk.names(desk.local)) == 12
    (desk.base / "unmounted").rename(desk.remote)
    desk.sync()
    assert desk.seen() == (desk.names(desk.local),) * 2


def test_a_file_in_the_place_of_the_folder_is_told_as_such(desk: Desk) -> None:
    desk.fill()
    shutil.rmtree(desk.remote)
    desk.remote.write_text("not a folder")
    assert "is not a folder" in desk.sync(code=1)
    assert len(desk.names(desk.local)) == 12


def test_an_unreadable_folder_is_no_empty_one(guest: Desk) -> None:
    guest.fill()
    guest.remote.chmod(0o000)
    said = guest.sync(code=1)
    assert "error[TU-DENIED]" in said
    assert "cannot be read" in said
    guest.remote.chmod(0o777)
    assert guest.seen() == (guest.names(guest.local),) * 2
    guest.sync()


def test_an_unreadable_folder_below_is_unknown_and_the_rest_is_done(guest: Desk) -> None:
    guest.fill()
    guest.write(guest.local, "below/deep.txt", "deep").parent.chmod(0o777)
    guest.sync()
    hidden = guest.remote / "below"
    hidden.chmod(0o000)
    guest.write(guest.local, "file-1.txt", "edited")
    result = guest.run("sync", *guest.folders(), "--yes", *guest.flags)
    hidden.chmod(0o777)
    assert result.returncode == 2, result.stderr
    assert "below" in result.stdout + result.stderr
    assert guest.names(guest.remote)["file-1.txt"] == "edited"
    assert guest.names(guest.local)["below/deep.txt"] == guest.names(guest.remote)["below/deep.txt"] == "deep"
    guest.sync()


def test_a_read_only_folder_refuses_and_the_next_run_succeeds(guest: Desk) -> None:
    guest.fill()
    guest.write(guest.local, "file-1.txt", "edited")
    before = guest.seen()
    read_only = [path for path in (guest.remote, guest.remote / ".trueup") if path.exists()]
    for path in read_only:
        path.chmod(0o555)
    said = guest.run("sync", *guest.folders(), "--yes", *guest.flags)
    for path in read_only:
        path.chmod(0o777)
    assert said.returncode == 1, said.stderr
    assert "permission" in (said.stdout + said.stderr).lower()
    assert guest.seen() == before
    guest.sync()
    assert guest.names(guest.remote)["file-1.txt"] == "edited"


# -- the state and the plan ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["garbage", "truncated", "empty page"])
def test_a_corrupt_state_is_refused_kept_aside_when_told_so_and_nothing_is_deleted(desk: Desk, damage: str) -> None:
    desk.fill()
    database = desk.state / "state.db"
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    content = database.read_bytes()
    match damage:
        case "garbage":
            damaged = b"this is not a database " * (len(content) // 23)
        case "truncated":
            damaged = content[: len(content) // 2]
        case _:
            damaged = content[:4096] + bytes(4096) + content[8192:]
    database.write_bytes(damaged)
    (desk.local / "file-3.txt").unlink()
    before = desk.seen()

    said = desk.sync(code=5)
    assert "error[TU-STATE]" in said
    assert "--allow corrupt-state" in said
    assert desk.seen() == before

    desk.sync("--allow", "corrupt-state")
    assert [path.name for path in desk.state.glob("state.db.damaged-*")]
    assert desk.names(desk.local) == desk.names(desk.remote)
    assert len(desk.names(desk.local)) == 12  # a union: what was deleted comes back
    assert "error" not in desk.sync()


@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff garbage", b"{}", b'{"format": "trueup.plan", "version": 1, "plan": {}}']
)
def test_a_corrupt_plan_file_is_refused(desk: Desk, content: bytes) -> None:
    desk.fill()
    before = desk.seen()
    plan = desk.base / "saved.plan"
    plan.write_bytes(content)
    result = desk.run("apply", str(plan), "--yes")
    assert result.returncode == 64, result.stderr
    assert "error[TU-" in result.stderr
    assert "saved.plan" in result.stderr
    assert "Traceback" not in result.stderr
    assert desk.seen() == before


def test_a_plan_that_somebody_cut_is_refused_and_the_whole_one_applies(desk: Desk) -> None:
    desk.fill()
    desk.write(desk.local, "file-1.txt", "edited")
    plan = desk.base / "saved.plan"
    assert desk.run("plan", *desk.folders(), *desk.flags, "-o", str(plan)).returncode == 0
    whole, before = plan.read_bytes(), desk.seen()
    plan.write_bytes(whole[:-200])
    assert desk.run("apply", str(plan), "--yes").returncode == 64
    assert desk.seen() == before
    plan.write_bytes(whole)
    result = desk.run("apply", str(plan), "--yes")
    assert result.returncode == 0, result.stderr
    assert desk.names(desk.remote)["file-1.txt"] == "edited"


# -- a full disk ---------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused_before_the_first_write(desk: Desk, small_disk: Path) -> None:
    desk = Desk(small_disk, desk.state)
    outside = desk.base.parent / "large"
    outside.mkdir()
    (outside / "large.bin").write_bytes(os.urandom(3 << 20))
    result = desk.run("sync", "folder", str(outside), str(desk.remote), "--yes")
    assert result.returncode == 5, result.stderr
    assert "free-space" in result.stderr
    assert desk.names(desk.remote) == {}


def test_a_disk_that_fills_up_loses_nothing_and_the_next_run_succeeds(desk: Desk, small_disk: Path) -> None:
    full = Desk(small_disk, desk.state)
    source = desk.local
    for number in range(8):
        desk.write(source, f"part-{number}.bin", f"{number}" * (400 << 10))
    words = ("sync", "folder", str(source), str(full.remote), "--yes", "--allow", "free-space")
    result = desk.run(*words)
    assert result.returncode == 2, result.stderr
    assert "no room" in (result.stdout + result.stderr).lower()
    assert "Traceback" not in result.stderr
    arrived = full.names(full.remote)
    assert 0 < len(arrived) < 8
    assert all(content == full.names(source)[name] for name, content in arrived.items())  # whole, or not there
    assert len(desk.names(source)) == 8

    subprocess.run(["mount", "-o", "remount,size=32m", str(small_disk)], check=True)
    again = desk.run(*words)
    assert again.returncode == 0, again.stderr
    assert full.names(full.remote) == desk.names(source)
    assert not list(full.remote.rglob(".trueup-tmp-*"))


def test_a_state_on_a_full_disk_stops_the_run_with_nothing_lost(desk: Desk, small_disk: Path) -> None:
    desk.state = small_disk / "state"
    desk.fill()
    for number in range(12):
        desk.write(desk.local, f"file-{number}.txt", f"edited {number}")
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    result = desk.run("sync", *desk.folders(), "--yes", *desk.flags, "--allow", "all-changed")
    assert result.returncode in (1, 2), result.stderr
    assert "no room" in result.stderr.lower()
    assert str(desk.state) in result.stderr
    assert "Traceback" not in result.stderr
    local, remote = desk.seen()
    assert set(local) == set(remote)
    assert all(text.startswith("edited") for text in local.values())
    ballast.unlink()
    desk.sync("--allow", "all-changed")
    assert desk.seen() == (local, local)


# -- names, others, flags ------------------------------------------------------------------------------------------


def test_the_longest_names_are_written(desk: Desk) -> None:
    desk.fill()
    long = "n" * 250 + ".txt"  # allowed, yet its temporary name has to be cut
    desk.write(desk.local, long, "a long name")
    desk.write(desk.local, "file-1.txt", "edited")
    desk.sync()
    assert desk.names(desk.remote)["file-1.txt"] == "edited"
    assert desk.names(desk.remote)[long] == "a long name"


async def test_a_name_that_cannot_be_written_is_reported_and_the_rest_is_done(pair: Pair) -> None:
    bucket = MemoryStore("memory://bucket", clock=LogicalClock(), directories=False)
    for name in ("../escape", "/lead", "a//b", "n" * 256, "file.txt"):
        bucket.put(name, name.encode())
    report = await pair.run(wrap=lambda side, store: bucket if side == REMOTE else store)
    assert exit_code(report) == EXIT_PARTIAL
    assert {item.key for item in report.plan.items if item.reason in (Reason.UNKNOWN, Reason.BLOCKED)} == {
        "../escape", "/lead", "a//b", "n" * 256
    }  # fmt: skip
    assert pair.live(pair.local) == {"file.txt": b"file.txt"}
    assert not (pair.base / "escape").exists()


def test_paths_longer_than_a_system_call_takes_are_written(desk: Desk) -> None:
    components = ["d" * 255] * 17
    make_deep(desk.local, components)
    desk.sync()
    make_deep(desk.remote, components, made=True)


def make_deep(root: Path, components: list[str], *, made: bool = False) -> None:
    """Make a file that no path leads to; or look whether it is there."""
    descriptors = [os.open(root, os.O_RDONLY)]
    for component in components:
        if not made:
            os.mkdir(component, dir_fd=descriptors[-1])
        descriptors.append(os.open(component, os.O_RDONLY, dir_fd=descriptors[-1]))
    os.close(os.open("deep.txt", os.O_WRONLY | (0 if made else os.O_CREAT), dir_fd=descriptors[-1]))
    for descriptor in descriptors:
        os.close(descriptor)


def test_a_second_run_meanwhile_is_told_who_is_there(desk: Desk) -> None:
    desk.fill()
    desk.write(desk.local, "file-1.txt", "edited")
    hold = "import fcntl, os, sys, time\nfd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)\n"
    hold += "fcntl.flock(fd, fcntl.LOCK_EX)\nprint('held', flush=True)\ntime.sleep(60)\n"
    lock = desk.remote / ".trueup" / "lock"
    holder = subprocess.Popen([sys.executable, "-c", hold, str(lock)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    try:
        said = desk.sync(code=6)
        assert "error[TU-LOCKED]" in said
        assert "try: wait" in said
        assert desk.names(desk.remote)["file-1.txt"] == "content 1"
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    desk.sync()  # a dead holder holds nothing
    assert desk.names(desk.remote)["file-1.txt"] == "edited"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--delets", "propagate"], "--deletes"),
        (["--direction", "sideways"], "choose from"),
        (["--max-delete", "many"], "neither a count nor a percentage"),
        (["--allow", "everything"], "choose from"),
    ],
)
def test_a_wrong_flag_is_named_and_nothing_is_done(desk: Desk, flags: list[str], said: str) -> None:
    desk.fill()
    desk.write(desk.local, "file-1.txt", "edited")
    before = desk.seen()
    result = desk.run("sync", *desk.folders(), "--yes", *flags)
    assert result.returncode == 64
    assert "error[TU-USAGE]" in result.stderr
    assert said in result.stderr
    assert "try: " in result.stderr
    assert desk.seen() == before
