"""``trueup registry remove`` and ``trueup remove``: an entry goes, with what it names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import click

from trueup.api.registries import same_image
from trueup.cli.answers import finish
from trueup.cli.common import Session, pass_session
from trueup.cli.group import Command
from trueup.cli.registry.acting import choosing, conclude
from trueup.cli.registry.commands import entry_argument
from trueup.cli.registry.entries import ENV, POLICY, Found, entries, find
from trueup.cli.registry.options import Options, gathered
from trueup.cli.running import Runner, run_engine
from trueup.cli.targets import allow_option, yes_option
from trueup.core.check import Guard
from trueup.core.errors import Unavailable, UsageError
from trueup.core.model import Record, Unknown
from trueup.core.plan import Plan
from trueup.core.table import Act, Rule, Verb
from trueup.render.names import count, printable, size
from trueup.render.text import line
from trueup.targets import policies

F = TypeVar("F", bound=Callable[..., Any])


def _removing(function: F) -> F:
    for option in (
        allow_option,
        yes_option,
        click.option("--no-trash", is_flag=True, help="Destroy what is deleted instead of keeping it in the trash."),
        click.option("--delete-image", is_flag=True, help="Also the container image, unless another entry uses it."),
    ):
        function = option(function)
    return function


@click.command("remove", cls=Command)
@entry_argument
@click.option("--delete-files", is_flag=True, help="Also the weights.")
@_removing
@gathered
@pass_session
def remove(
    session: Session,
    *,
    words: tuple[str, ...],
    delete_files: bool,
    delete_image: bool,
    no_trash: bool,
    yes: bool,
    allow: tuple[Guard, ...],
    options: Options,
) -> int:
    """Remove an entry: stop its containers, take it out of the registry, and on request delete what it names.

    \b
    Examples:
      trueup registry remove openvla:7b
      trueup registry remove openvla:7b --delete-files
      trueup registry remove env libero --delete-image --yes

    What is deleted goes to the trash, and `trueup undo last` brings entry and weights back.
    """
    flags = {"files": delete_files, "image": delete_image, "keep": not no_trash}
    return _remove(session, options, words, yes=yes, allow=allow, **flags)


@click.command("remove", cls=Command)
@click.argument("kind", type=click.Choice([POLICY, ENV]))
@click.argument("name")
@click.option("--keep-weights", is_flag=True, help="Of a policy: leave its weights on disk.")
@_removing
@gathered
@pass_session
def remove_entry(
    session: Session,
    *,
    kind: str,
    name: str,
    keep_weights: bool,
    delete_image: bool,
    no_trash: bool,
    yes: bool,
    allow: tuple[Guard, ...],
    options: Options,
) -> int:
    """Remove a policy with its weights, or an environment; short for `trueup registry remove`.

    \b
    Examples:
      trueup remove policy openvla:7b
      trueup remove policy openvla:7b --keep-weights
      trueup remove env libero
    """
    flags = {"files": kind == POLICY and not keep_weights, "image": delete_image, "keep": not no_trash}
    return _remove(session, options, (kind, name), yes=yes, allow=allow, **flags)


def _remove(
    session: Session,
    options: Options,
    words: Sequence[str],
    *,
    yes: bool,
    allow: tuple[Guard, ...],
    files: bool,
    image: bool,
    keep: bool,
) -> int:
    async def work(runner: Runner) -> int:
        one = await find(runner, options, words)
        if files and one.kind == ENV:
            raise UsageError(f"env {one.item.key} has no weights", attempt="the same command without --delete-files")
        removal = await _removal(runner, options, one, files=files, image=image)

        async def confirm(plan: Plan) -> bool:
            runner.display.close()
            if session.text:
                session.show(line(f"  {printable(text)}") for text in removal.told(keep=keep))
            question = f"Remove {one.kind} {printable(one.item.key)}?"
            if not yes:
                runner.require_terminal(question)
                if not await runner.ask(question):
                    return False
            runner.stop.writing = True
            return True

        report = await runner.engine.act(
            one.spec,
            choosing({one.item.key}, removal.rule),
            amend=removal.amend,
            confirm=confirm,
            allow=allow,
            keep=keep,
            command=session.typed,
        )
        runner.stop.writing = False
        code = conclude(runner, report, "Removed")
        finish(session, "result", report=report, exit_code=code)
        return code

    return run_engine(session, work)


@dataclass(frozen=True, slots=True)
class _Removal:
    """What goes with an entry."""

    one: Found
    containers: tuple[str, ...]
    files: bool
    image: bool
    users: tuple[str, ...]
    """Other entries that name the same image, which therefore stays."""

    @property
    def named(self) -> str:
        """The image that the entry names; empty if none."""
        return str(self.one.fields.get("image") or "")

    @property
    def rule(self) -> Rule:
        """Containers first, the entry last: a removal that is stopped half-way can be asked for again."""
        acts = [Act(Verb.ACT, policies.ENGINE)] if self.containers else []
        if self.files and self.one.content is not None:
            acts.append(Act(Verb.DELETE, policies.DISK))
        if self.image and self.named and not self.users and self.one.item.seen.get(policies.ENGINE) is not None:
            acts.append(Act(Verb.DELETE, policies.ENGINE))
        return Rule("removed", (*acts, Act(Verb.RECORD_REMOVE, policies.RECORD)), why="removed by hand")

    def amend(self, _: Record) -> Record:
        """Which containers are stopped."""
        return Record.of({"stop": list(self.containers)})

    def told(self, *, keep: bool) -> Iterator[str]:
        """What is about to happen, line by line."""
        where = "to the trash" if keep else "for good"
        if self.containers:
            names = ", ".join(name[:12] for name in self.containers)
            yield f"stops {count(len(self.containers), 'container')}: {names}"
        for act in self.rule.acts:
            if act.verb is Verb.DELETE and act.side == policies.DISK:
                yield f"deletes its weights ({size(self.one.size or 0)}), {where}"
            elif act.verb is Verb.DELETE:
                yield f"deletes its image {self.named}, {where}"
        if self.image and self.users:
            yield f"keeps its image {self.named}: {', '.join(self.users)} {'use' if self.users[1:] else 'uses'} it too"
        yield "takes the entry out of the registry"


async def _removal(runner: Runner, options: Options, one: Found, *, files: bool, image: bool) -> _Removal:
    removal = _Removal(one, (), files, image, ())
    users = []
    if image and removal.named:
        wanted = same_image(removal.named)
        users = [
            f"{other.kind} {other.item.key}"
            for other in await entries(runner, options)
            if other.recorded and (other.kind, other.item.key) != (one.kind, one.item.key)
            if wanted(str(other.fields.get("image") or ""))
        ]
    containers = await runner.engine.containers(one.spec, one.item.key)
    removal = replace(removal, containers=tuple(containers), users=tuple(users))
    _refuse_unseen(removal)
    return removal


def _refuse_unseen(removal: _Removal) -> None:
    """Nothing is deleted that cannot be seen, and no entry goes whose containers cannot be stopped.

    Raises:
        Unavailable: If the removal needs a side that cannot be seen.
    """
    for act in removal.rule.acts:
        seen = removal.one.item.seen.get(act.side)
        if isinstance(seen, Unknown) and act.verb in (Verb.DELETE, Verb.ACT):
            what = "weights" if act.side == policies.DISK else "image" if act.verb is Verb.DELETE else "containers"
            key = removal.one.item.key
            attempt = f"trueup registry forget {key}, which touches nothing else"
            raise Unavailable(f"nothing is known of the {what} of {key}", why=seen.why, attempt=attempt)
