"""``trueup init``: write a first ``trueup.toml``."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click

from trueup.cli.answers import respond
from trueup.cli.common import Session, pass_session
from trueup.cli.group import Command
from trueup.cli.writing import quoted, relative, validate, write
from trueup.core.errors import StoreError, UsageError
from trueup.render.names import printable
from trueup.render.text import line

DELETES = {
    "propagate": "delete it there too; it stays in the trash",
    "restore": "bring it back from there",
    "report": "leave both as they are, and say so",
}
"""What a deletion on one side can mean for the other, in the order in which it is asked."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What the file will say."""

    name: str
    local: str
    remote: str
    deletes: str


@click.command(cls=Command, short_help="Write a first trueup.toml.")
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path, file_okay=False))
@click.option("--local", metavar="PATH", help="The folder on this machine.")
@click.option("--remote", metavar="PLACE", help="The other side: a path or a URL.")
@click.option("--name", metavar="NAME", help="What to call the target; else the name of the local folder.")
@click.option("--deletes", type=click.Choice(list(DELETES)), help="What a deletion on one side means for the other.")
@click.option("--dataset", is_flag=True, help="Datasets of actors: where they are, and the script of their document.")
@click.option("--yes", is_flag=True, help="Ask nothing: local is the current folder, deleted files are restored.")
@click.option("--force", is_flag=True, help="Replace a configuration that is there.")
@pass_session
def init(
    session: Session,
    *,
    folder: Path,
    local: str | None,
    remote: str | None,
    name: str | None,
    deletes: str | None,
    dataset: bool,
    yes: bool,
    force: bool,
) -> None:
    """Write a first trueup.toml, with comments, into DIR (else the current folder).

    \b
    Examples:
      trueup init
      trueup init --local site --remote /srv/backup/site --deletes propagate
      trueup init --remote ~/backup --yes
      trueup init --local site --remote s3://BUCKET/site
      trueup init --dataset --remote s3://BUCKET/system_actors/training_data

    What is missing is asked. Paths are relative to the current folder.
    """
    file = folder / "trueup.toml"
    if dataset:
        from trueup.cli.layout import write_layout

        write_layout(session, folder, local, remote, force=force)
        return
    _refuse_to_replace(folder, force=force)
    if yes:
        local, deletes = local or ".", deletes or "restore"
    missing = [f"--{option}" for option, value in _given(local, remote, deletes).items() if not value]
    if missing and (yes or not _interactive()):
        raise UsageError(
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing",
            why="nobody can be asked" if not yes else "--yes has no answer for it",
            attempt="trueup init --local PATH --remote PLACE --deletes propagate|restore|report",
        )
    local = local or click.prompt("Local folder", default=".", err=True)
    remote = remote or click.prompt("Other side (a path, or a URL such as s3://BUCKET/FOLDER)", err=True)
    deletes = deletes or _ask_deletes()
    _refuse_nested(local, remote)
    _refuse_nowhere(remote)
    answers = Answers(name or _name(local), relative(local, folder), relative(remote, folder), deletes)
    text = _text(answers)
    validate(file, text)
    write(file, text, force=force)
    said = f"{printable(str(file))}: written. Next: trueup status"
    respond(session, "init", [line(said)], path=str(file.resolve()), target=answers.name)


def _given(local: str | None, remote: str | None, deletes: str | None) -> dict[str, str | None]:
    return {"local": local, "remote": remote, "deletes": deletes}


def _interactive() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _ask_deletes() -> str:
    click.echo("When a file is deleted on one side, what should happen on the other?", err=True)
    for word, meaning in DELETES.items():
        click.echo(f"  {word:10} {meaning}", err=True)
    answer: str = click.prompt("Deletions", type=click.Choice(list(DELETES)), err=True)
    return answer


def _refuse_to_replace(folder: Path, *, force: bool) -> None:
    from trueup.config.document import locate

    try:
        there = locate(folder.resolve())
    except OSError as error:
        raise UsageError(f"{folder} cannot be used", why=error.strerror or "") from error
    if there is not None and there.parent == folder.resolve() and not force:
        raise UsageError(
            f"{there} configures this folder already", why="it would be replaced", attempt="trueup init --force"
        )


def _refuse_nested(local: str, remote: str) -> None:
    """One side inside the other would be copied into itself, run after run."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", remote):
        return
    sides = [_resolved(side) for side in (local, remote)]
    if sides[0].is_relative_to(sides[1]) or sides[1].is_relative_to(sides[0]):
        raise UsageError("one side is inside the other", why=f"{sides[0]} and {sides[1]}")


def _refuse_nowhere(remote: str) -> None:
    """A URL that no store can make sense of; whether there is such a place is another question, for later."""
    from trueup.engine.ambient import Ambient
    from trueup.protocols import Opening
    from trueup.stores import open_store, scheme_of

    if scheme_of(remote) == "file":
        return
    ambient = Ambient()
    with suppress(StoreError):
        open_store(remote, Opening(ambient.clock, ambient.threads, ambient.unique))


def _resolved(place: str) -> Path:
    try:
        return Path(place).expanduser().resolve()
    except RuntimeError as error:
        raise UsageError(f"there is no such user: {place}") from error


def _name(local: str) -> str:
    """A legal name made of the folder's."""
    from trueup.config.settings import RESERVED

    name = re.sub(r"[^\w.@-]+", "-", _resolved(local).name).lstrip("-.@") or "site"
    return f"{name}-folder" if name in RESERVED else name


def _text(answers: Answers) -> str:
    from trueup.config.problems import dotted
    from trueup.core.strategy import Conflict, Deletes, Direction, Keep

    def words(choices: type[Conflict | Deletes | Direction | Keep]) -> str:
        return " | ".join(choices)

    return f"""\
# What trueup keeps in agreement. Relative paths are relative to this file.
# All settings: trueup config show; after an edit: trueup config check

[{dotted(("targets", answers.name))}]
kind = "folder"
local = {quoted(answers.local)}
remote = {quoted(answers.remote)}
direction = "bidirectional"  # {words(Direction)}
conflict = "manual"  # {words(Conflict)}
deletes = {quoted(answers.deletes)}  # {words(Deletes)}
# exclude = ["*.tmp"]  # more patterns, as in .gitignore
# max_delete = "20%"  # a run that would delete more is refused; a count, or a percentage
# keep = "all"  # replaced and deleted versions kept in the trash: {words(Keep)}
"""
