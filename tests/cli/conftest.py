"""A home of its own for every call of the command line."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.cli.home import CONFIG, Home
from tests.cli.robots import CALLED, Robots, furnish
from tests.stores.docker.conftest import Made
from tests.stores.docker.conftest import archive as archive  # fixtures of the engines' own tests
from tests.stores.docker.conftest import images as images
from tests.stores.docker.conftest import made as made


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A configured target `site`, both sides empty."""
    path = tmp_path / "home"
    for name in ("site", "share"):
        (path / name).mkdir(parents=True)
    (path / "trueup.toml").write_text(CONFIG)
    _alone(path, tmp_path, monkeypatch)
    return Home(path, dict(os.environ))


@pytest.fixture
def robots(tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch) -> Iterator[Robots]:
    """A home with MAPLE's registry, empty, and an engine without images; nothing is configured."""
    with TemporaryDirectory(prefix="robots", dir="/tmp") as directory:
        assert len(directory) == len(CALLED)
        path = Path(directory)
        furnish(path)
        _alone(path, tmp_path, monkeypatch)
        monkeypatch.setenv("HOME", str(path))
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("DOCKER_HOST", made.url)
        yield Robots(path, dict(os.environ), made=made)


def _alone(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder, with a state of its own and nobody's settings."""
    monkeypatch.chdir(path)
    for name in list(os.environ):
        if name.startswith("TRUEUP_") or name in ("NO_COLOR", "CLICOLOR_FORCE"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TRUEUP_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "none"))
