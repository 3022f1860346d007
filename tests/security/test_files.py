"""What somebody who shares a folder can put into it: nothing of theirs is written through, read through or waited for.

Links and pipes among the items, and those that are swapped in during a run, are in ``tests/engine/test_scenarios.py``
(28) and ``tests/stores/test_file.py``. Here are those in the place of our own files, and hard links.
"""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.home import Home

from trueup.core.model import Key
from trueup.stores.file.write import Folder

SECRET = "not theirs to change"


@pytest.fixture
def outside(home: Home) -> Path:
    """A file beside the two folders."""
    path = home.path / "outside/file"
    path.parent.mkdir()
    path.write_text(SECRET)
    return path


def differ(home: Home) -> None:
    """An agreed file of which the local side has another version by now."""
    (home.site / "a").write_text("one")
    home("sync", "site", "--yes")
    (home.site / "a").write_text("another")


def socket_at(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(path.parent)  # the name of a socket has little room
        listener.bind(path.name)
        os.chdir(here)


TRAPS: dict[str, Callable[[Path, Path], None]] = {
    "link": lambda at, outside: at.symlink_to(outside),
    "link to a folder": lambda at, outside: at.symlink_to(outside.parent),
    "link to nothing": lambda at, outside: at.symlink_to(outside.parent / "new"),
    "hard link": lambda at, outside: at.hardlink_to(outside),
    "pipe": lambda at, _: os.mkfifo(at),
    "socket": lambda at, _: socket_at(at),
    "folder": lambda at, _: at.mkdir(),
}


@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize("name", [".trueup", ".trueup/lock", ".trueup/id", ".trueup/trash"])
def test_nothing_in_the_place_of_our_own_files_is_followed_or_waited_for(
    home: Home, outside: Path, trap: str, name: str
) -> None:
    differ(home)
    own = home.share / name
    if own.exists():
        own.rename(home.path / "aside")
    TRAPS[trap](own, outside)
    mode = own.lstat().st_mode
    result = home("sync", "site", "--yes", code=None)
    assert "TU-BUG" not in result.output, result.output
    assert outside.read_text() == SECRET
    assert list(outside.parent.iterdir()) == [outside]
    assert SECRET not in result.output
    assert stat.S_IFMT(own.lstat().st_mode) == stat.S_IFMT(mode), "it is still what it was"
    if result.exit_code == 0:
        assert (home.share / "a").read_text() == "another"
    else:
        assert (home.share / "a").read_text() == "one", "refused before the first write"


@pytest.mark.parametrize("trap", ["link", "pipe", "socket", "folder"])
def test_a_trap_in_the_trash_is_not_listed_and_cannot_be_restored(home: Home, outside: Path, trap: str) -> None:
    differ(home)
    home("sync", "site", "--yes")
    run = next(path for path in (home.share / ".trueup/trash").iterdir())
    TRAPS[trap](run / "0/trap", outside)
    assert "trap" not in home("trash", "ls", "site").output
    handle = f"{run.name}/0/trap"
    result = home("trash", "restore", "site", handle, "--side", "remote", "--to", "copy", code=None)
    assert result.exit_code != 0
    assert not (home.path / "copy").exists()
    assert not (home.site / "trap").exists()


def test_emptied_directories_of_the_trash_are_not_removed_through_a_link(home: Home, tmp_path: Path) -> None:
    """Between the version's removal and that of its directories, a directory becomes a link."""
    folder = Folder(str(home.site), str(home.site / ".trueup/trash"), lambda: "1")
    (home.site / "d").mkdir()
    (home.site / "d/a").write_text("1")
    status = (home.site / "d/a").stat()
    from trueup.protocols import Trash
    from trueup.stores.file.place import token_of

    handle = folder.remove(Key("d/a"), token_of(status), Trash("run")).kept
    assert handle is not None
    (tmp_path / "elsewhere/d").mkdir(parents=True)
    real = os.unlink

    def swapping(name: str, **options: int) -> None:
        real(name, **options)
        number = home.site / ".trueup/trash/run/0"
        number.rename(tmp_path / "aside")
        number.symlink_to(tmp_path / "elsewhere")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "unlink", swapping)
        folder.prune(handle)
    assert (tmp_path / "elsewhere/d").is_dir()


@pytest.mark.parametrize("side", ["site", "share"])
def test_the_other_name_of_a_hard_link_keeps_its_content(home: Home, outside: Path, side: str) -> None:
    for name in ("site", "share"):
        (home.path / name / "a").write_text(SECRET)
    (home.path / side / "a").unlink()
    (home.path / side / "a").hardlink_to(outside)
    home("sync", "site", "--yes")
    other = home.share if side == "site" else home.site
    (other / "a").write_text("replaced")
    home("sync", "site", "--yes")
    assert (home.path / side / "a").read_text() == "replaced"
    assert outside.read_text() == SECRET
    (other / "a").unlink()
    home("sync", "site", "--yes")
    assert outside.read_text() == SECRET
    home("trash", "prune", "site", "--older-than", "0s", "--yes", "--last-copies")
    assert outside.read_text() == SECRET


@pytest.mark.parametrize("trap", ["link", "link to nothing", "hard link"])
def test_a_saved_plan_and_a_restored_file_replace_a_link_and_do_not_follow_it(
    home: Home, outside: Path, trap: str
) -> None:
    differ(home)
    TRAPS[trap](home.path / "p", outside)
    home("plan", "site", "-o", "p")
    assert not (home.path / "p").is_symlink()
    home("sync", "site", "--yes")
    TRAPS[trap](home.path / "copy", outside)
    handle = next(line for line in home("trash", "ls", "site").output.split() if line.endswith("/0/a"))
    home("trash", "restore", "site", handle, "--side", "remote", "--to", "copy", code=None)
    assert outside.read_text() == SECRET
    assert list(outside.parent.iterdir()) == [outside]


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o1777, 0o7777])
def test_no_mode_makes_a_program_run_as_somebody_else(home: Home, mode: int) -> None:
    (home.site / "tool").write_text("#!/bin/sh\n")
    (home.site / "tool").chmod(mode)
    home("sync", "site", "--yes")
    assert stat.S_IMODE((home.share / "tool").stat().st_mode) == mode & 0o777
    (home.share / "tool").chmod(mode)
    (home.site / "tool").write_text("#!/bin/sh\nexit 1\n")
    home("sync", "site", "--yes")
    assert stat.S_IMODE((home.share / "tool").stat().st_mode) == mode & 0o777


@pytest.mark.parametrize("name", ["..", "../../outside/file", "/etc/passwd", "run/0/../../../../x", "a\0b", ".", ""])
def test_no_handle_leads_out_of_the_trash(home: Home, outside: Path, name: str) -> None:
    differ(home)
    home("sync", "site", "--yes")
    for side in ("local", "remote"):
        result = home("trash", "restore", "site", name, "--side", side, "--to", "copy", code=None)
        assert result.exit_code != 0
        assert "TU-BUG" not in result.output, result.output
    assert not (home.path / "copy").exists()


def test_a_source_of_a_device_is_not_read(home: Home) -> None:
    """A folder of the system's own: what is no regular file is reported and left alone."""
    result = home("plan", "folder", "/dev/pts", "share", code=None)
    assert "TU-BUG" not in result.output
    assert "upload" not in result.output
