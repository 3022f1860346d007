"""The tutorial of docs/models.md, typed as it stands, prints what it says."""

from __future__ import annotations

import re
import shlex
import tomllib

from tests.docs.blocks import ROOT, blocks
from tests.models.home import Models

from trueup.stores.http.spec import known

PAGE = ROOT / "docs" / "models.md"


def test_the_commands_of_the_page_print_what_it_says(models: Models) -> None:
    (console,) = blocks(PAGE, "console")
    printed = ""
    for line in console.splitlines():
        if line.startswith("$ trueup "):
            shown = models(*shlex.split(line)[2:]).stdout
            printed += line + "\n" + re.sub(r"\d+ (second|minute)s? ago", "just now", shown)
    assert printed == console


def test_the_settings_of_the_page_are_settings(models: Models) -> None:
    models.configure("\n".join(blocks(PAGE, "toml")))
    assert tomllib.loads(models.config.read_text())["providers"]
    models("config", "show")


def test_every_provider_is_named_on_the_page() -> None:
    text = PAGE.read_text("utf-8")
    names = {"Hugging Face router": "Hugging Face", "Mock": "`mock`"}
    assert not [spec.name for spec in known().values() if names.get(spec.title, spec.title) not in text]
