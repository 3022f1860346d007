"""A home of its own for every call of the command line."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.cli.home import CONFIG, Home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A configured target `site`, both sides empty."""
    path = tmp_path / "home"
    for name in ("site", "share"):
        (path / name).mkdir(parents=True)
    (path / "trueup.toml").write_text(CONFIG)
    monkeypatch.chdir(path)
    for name in list(os.environ):
        if name.startswith("TRUEUP_") or name in ("NO_COLOR", "CLICOLOR_FORCE"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TRUEUP_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "none"))
    return Home(path, dict(os.environ))
