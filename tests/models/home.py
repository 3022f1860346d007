"""The command line over providers that a server plays."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.models.server import GEMINI_8, OPENAI_15, Server, gemini, openai

from trueup.cli import root

KEY = "sk-t0psecret-4711"
HOUR_NS = 3600 * 10**9


@dataclass(frozen=True)
class Models:
    """A configured home."""

    path: Path
    state: Path
    config: Path
    """The user's own file: it needs no approval."""
    server: Server
    monkeypatch: pytest.MonkeyPatch

    def __call__(self, *arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(root, list(arguments))
        assert result.exit_code == code, f"{arguments}: {result.exit_code}\n{result.output}"
        return result

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", code=code).stdout)

    def configure(self, text: str) -> None:
        self.config.parent.mkdir(parents=True, exist_ok=True)
        self.config.write_text(text)

    def has(self, provider: str, path: str) -> None:
        """There is a key, and a provider of that name at this path of the server."""
        names = {"gemini": "GEMINI_BASE_URL", "xai": "XAI_BASE_URL", "openai": "OPENAI_BASE_URL"}
        self.monkeypatch.setenv(names.get(provider, f"{provider.upper()}_BASE_URL"), self.server.address + path)
        self.monkeypatch.setenv(f"{provider.upper()}_API_KEY", KEY)

    def two(self) -> None:
        """OpenAI with 15 models, Gemini with 8."""
        self.has("openai", "/v1")
        self.has("gemini", "/g")
        self.server.says("/v1/models", openai(OPENAI_15))
        self.server.says("/g/models", gemini(GEMINI_8))

    def older(self, provider: str, hours: float) -> None:
        """As if the last sync had been so long ago."""
        with sqlite3.connect(self.state / "catalogue.db") as connection:
            connection.execute(
                "UPDATE accounts SET success_ns = success_ns - ? WHERE provider = ?", (int(hours * HOUR_NS), provider)
            )
        connection.close()

    def dump(self, *tables: str) -> list[Any]:
        """Everything in these tables of the catalogue."""
        connection = sqlite3.connect(self.state / "catalogue.db")
        found = [connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables]  # noqa: S608
        connection.close()
        return found

    def states(self, provider: str) -> dict[str, str]:
        listed = self.json("models", "ls", "--all", "--provider", provider)
        return {model["model"]: model["state"] for model in listed["models"]}
