"""The store of trust: who may run commands, and what makes it forget."""

import hashlib
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from trueup.config.trust import STORE, distrust, is_trusted, trust
from trueup.core.errors import ConfigError


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "new/state"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "trueup.toml"
    path.write_text("a = 1\n")
    return path


def test_nothing_is_trusted_before_it_was_said(file: Path, state: Path) -> None:
    assert not is_trusted(file, state)
    assert not state.exists()


def test_a_file_is_trusted_as_it_was_and_no_longer_when_it_changed(file: Path, state: Path) -> None:
    assert trust(file, state) == hashlib.sha256(b"a = 1\n").hexdigest()
    assert is_trusted(file, state)
    file.write_text("a = 2\n")
    assert not is_trusted(file, state)
    file.write_text("a = 1\n")
    assert is_trusted(file, state)


def test_the_same_bytes_elsewhere_are_not_trusted(file: Path, state: Path, tmp_path: Path) -> None:
    trust(file, state)
    copy = tmp_path / "copy.toml"
    copy.write_bytes(file.read_bytes())
    assert not is_trusted(copy, state)


def test_a_link_is_the_file_that_it_leads_to(file: Path, state: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.toml"
    link.symlink_to(file)
    trust(link, state)
    assert is_trusted(file, state)
    other = tmp_path / "other.toml"
    other.write_text("evil")
    link.unlink()
    link.symlink_to(other)
    assert not is_trusted(link, state)


def test_trust_is_for_the_bytes_that_were_reviewed(file: Path, state: Path) -> None:
    reviewed = hashlib.sha256(file.read_bytes()).hexdigest()
    file.write_text("swapped meanwhile")
    trust(file, state, digest=reviewed)
    assert not is_trusted(file, state)
    assert is_trusted(file, state, digest=reviewed)


def test_trust_can_be_taken_back_even_of_a_file_that_is_gone(file: Path, state: Path) -> None:
    trust(file, state)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    file.unlink()
    assert is_trusted(file, state, digest=digest)
    assert distrust(file, state)
    assert not is_trusted(file, state, digest=digest)
    assert not distrust(file, state)


def test_nobody_else_can_read_the_store_whatever_the_umask(file: Path, state: Path) -> None:
    before = os.umask(0)
    try:
        trust(file, state)
    finally:
        os.umask(before)
    assert stat.S_IMODE((state / STORE).stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_a_store_that_others_can_write_approves_nothing(file: Path, state: Path) -> None:
    trust(file, state)
    (state / STORE).chmod(0o620)
    assert not is_trusted(file, state)
    with pytest.raises(ConfigError, match="other users can write it"):
        trust(file, state)


def test_a_store_of_another_user_approves_nothing(file: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trust(file, state)
    monkeypatch.setattr(os, "geteuid", lambda: (state / STORE).stat().st_uid + 1)
    assert not is_trusted(file, state)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "\xff", '{"format": "trueup.trust", "version": 1}', '{"format": "x", "version": 1, "files": {}}'],
)
def test_a_damaged_store_approves_nothing_and_is_not_replaced_silently(file: Path, state: Path, content: str) -> None:
    trust(file, state)
    (state / STORE).write_text(content, "latin-1")
    assert not is_trusted(file, state)
    with pytest.raises(ConfigError, match="is damaged") as caught:
        trust(file, state)
    assert "rm " in caught.value.attempt
    assert (state / STORE).read_text("latin-1") == content


def test_a_failed_write_leaves_the_old_store_as_it_was(
    file: Path, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust(file, state)
    before = (state / STORE).read_bytes()

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ConfigError, match="cannot be written - No space left"):
        trust(tmp_path / "trueup.toml", state, digest="0" * 64)
    assert (state / STORE).read_bytes() == before


def test_a_file_that_is_not_there_cannot_be_trusted(state: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        trust(tmp_path / "nowhere.toml", state)
    assert not is_trusted(tmp_path / "nowhere.toml", state)


def test_approvals_given_at_the_same_time_are_all_kept(state: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.toml" for number in range(16)]
    for path in files:
        path.write_text("x")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda path: trust(path, state), files))
    assert len(json.loads((state / STORE).read_text())["files"]) == len(files)
