"""What we remember and keep is nobody else's to read, whatever the umask is.

Single files are looked at in ``tests/engine/test_state.py``, ``tests/stores/test_file.py`` and ``tests/test_trust.py``.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.home import Home


@pytest.fixture(params=[0o000, 0o002, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_state_trash_and_saved_plans_are_for_one_person(home: Home, umask: int) -> None:
    state = Path(home.env["TRUEUP_STATE"])
    home.differ()
    home("plan", "site", "-o", "p", code=4)
    home("trust")
    home("sync", "site", "--yes", "--conflict", "newest-wins", code=None)
    home("undo", "last", "--yes", code=None)
    own = [state, *state.rglob("*"), home.path / "p"]
    for side in (home.site, home.share):
        own += [side / ".trueup", side / ".trueup/id", side / ".trueup/lock"]
    trash = [path for side in (home.site, home.share) for path in (side / ".trueup/trash").rglob("*")]
    assert any(path.is_file() for path in trash)
    own += [path for path in trash if path.is_dir()]  # what is kept has its own mode, for when it comes back
    assert len(own) > 12
    shared = {str(path): oct(path.stat().st_mode) for path in own if path.stat().st_mode & 0o077}
    assert not {name for name in shared if not name.endswith((".trueup/id",))}, shared
    for side in (home.site, home.share):
        assert stat.S_IMODE((side / ".trueup").stat().st_mode) == 0o700


def test_a_file_is_nobody_elses_before_it_is_complete(home: Home, umask: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A temporary file gets the mode of its source only when it has all its content."""
    (home.site / "private").write_text("secret")
    (home.site / "private").chmod(0o600)
    modes: list[int] = []
    real = os.open

    def watched(path: str, flags: int, mode: int = 0o777, **options: int) -> int:
        fd = real(path, flags, mode, **options)
        if ".trueup-tmp-" in str(path):
            modes.append(stat.S_IMODE(os.fstat(fd).st_mode))
        return fd

    monkeypatch.setattr(os, "open", watched)
    home("sync", "site", "--yes")
    assert modes
    assert {mode & 0o077 for mode in modes} == {0}
    assert stat.S_IMODE((home.share / "private").stat().st_mode) == 0o600
