"""A team of its own for each test."""

import os
from pathlib import Path

import pytest
from tests.actions.team import Team


@pytest.fixture
def team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Team:
    """Configured buckets, both sides empty; the current folder."""
    path = tmp_path / "team"
    path.mkdir()
    monkeypatch.chdir(path)
    for name in list(os.environ):
        if name.startswith("TRUEUP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TRUEUP_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "none"))
    return Team(path)
