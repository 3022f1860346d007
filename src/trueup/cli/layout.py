"""``trueup init --dataset``: say where datasets are, and write the script that their document names."""

from __future__ import annotations

from pathlib import Path

from trueup.cli.answers import respond
from trueup.cli.common import Session
from trueup.cli.writing import quoted, relative, validate, write
from trueup.core.errors import UsageError
from trueup.render.names import printable
from trueup.render.text import line
from trueup.targets.datasets import ACTOR_ID, ACTOR_NAME

LOCAL = f"data/actors/{ACTOR_NAME}/training_data/"
MANIFEST = f"data/actor_manifests/{ACTOR_ID}_manifest.json"
SCRIPT = Path("scripts/comprehensive_sync_training_data.py")
FILE = '''\
"""Audit an actor's manifest, local files and remote copy, then sync everything: the same as `trueup sync dataset`."""

from trueup.scripts.comprehensive_sync_training_data import main

if __name__ == "__main__":
    main()
'''
"""What is written into a project's own ``scripts``."""


def write_layout(session: Session, folder: Path, local: str | None, remote: str | None, *, force: bool) -> None:
    """Add the table ``[datasets]`` to the folder's ``trueup.toml``, made if need be, and write the script.

    Raises:
        UsageError: If the remote is missing, the file says where datasets are already, or the script is another.
    """
    file, script = folder / "trueup.toml", folder / SCRIPT
    if not remote:
        raise UsageError(
            "--remote is missing",
            why="nobody else knows where the other copies are",
            attempt="trueup init --dataset --remote s3://BUCKET/system_actors/training_data",
        )
    before = _read(file)
    if "[datasets]" in before.splitlines():
        raise UsageError(f"{file} says already where datasets are", attempt=f"edit its table [datasets]: {file}")
    if script.exists() and _read(script) != FILE and not force:
        raise UsageError(f"{script} is there already, and another", attempt="trueup init --dataset --force")
    text = before + ("\n" if before else "") + _table(folder, local or LOCAL, remote)
    validate(file, text)
    write(file, text, force=bool(before))
    write(script, FILE, force=script.exists())
    said = f"{printable(str(file))} and {printable(str(script))}: written. Next: trueup sync dataset --all --dry-run"
    respond(session, "init", [line(said)], path=str(file.resolve()), target="datasets")


def _table(folder: Path, local: str, remote: str) -> str:
    return f"""\
# Where the datasets of actors are. Relative paths are relative to this file.
[datasets]
local = {quoted(relative(_each(local), folder))}
remote = {quoted(relative(_each(remote), folder))}
manifest = {quoted(MANIFEST)}
# conflict = "manual"  # manual | local_wins | remote_wins | newest_wins
# max_delete = "20%"  # a run that would delete more is refused; a count, or a percentage
"""


def _each(place: str) -> str:
    """A place of each actor's own."""
    return place if ACTOR_NAME in place or ACTOR_ID in place else f"{place.rstrip('/')}/{ACTOR_NAME}/"


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read", why=str(error)) from error
