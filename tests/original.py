"""MAPLE's own ``sync``, from its installed source: original.py policies|envs|all [--dry-run].

Its command line needs more than a test should install: the module alone is loaded, with a stand-in for the library that
parses its arguments.
"""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TypeVar

F = TypeVar("F")


class Exit(SystemExit):
    """As ``typer.Exit``."""


def typer() -> ModuleType:
    """What the module asks of ``typer``: options are their defaults, commands are functions."""
    module = ModuleType("typer")
    unchanged: Callable[[F], F] = lambda function: function  # noqa: E731
    vars(module).update(
        Typer=lambda **_: SimpleNamespace(command=lambda _: unchanged),
        Option=lambda default, *_, **__: default,
        Exit=Exit,
    )
    return module


def main(what: str, *flags: str) -> None:
    """Run one command."""
    sys.modules["typer"] = typer()
    found = importlib.util.find_spec("maple")
    assert found is not None
    assert found.origin is not None
    path = Path(found.origin).parent / "cmd" / "cli" / "snc.py"
    spec = importlib.util.spec_from_file_location("snc", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    getattr(module, f"sync_{what}")(dry_run="--dry-run" in flags)


if __name__ == "__main__":
    main(*sys.argv[1:])
