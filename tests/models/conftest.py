"""A home without any credentials, and a server that plays providers."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.models.home import Models
from tests.models.server import Server, serving

from trueup.stores.http.spec import known


@pytest.fixture(autouse=True)
def _nobody_else_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials, no addresses and no proxies of the machine."""
    for provider in known().values():
        for name in (*provider.key_env, *provider.base_url_env, *provider.headers_env.values(), "AWS_REGION"):
            monkeypatch.delenv(name, raising=False)
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_")):
            monkeypatch.delenv(name)
    for name in list(os.environ):
        if name.startswith("TRUEUP_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> Models:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setenv("TRUEUP_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "none"))
    return Models(home, tmp_path / "state", tmp_path / "user" / "trueup" / "config.toml", server, monkeypatch)
