"""``trueup conflicts``: what waits for a person, and the person's answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click

from trueup.cli.answers import finish
from trueup.cli.common import Session, pass_session
from trueup.cli.diff import painted, version
from trueup.cli.group import Command, Group
from trueup.cli.running import Runner, run_engine
from trueup.cli.sync import Asked, conclude, present_refused
from trueup.cli.targets import (
    Chosen,
    Overrides,
    allow_option,
    choose,
    choose_all,
    folders_of,
    no_more,
    policy_options,
    policy_options_but_keep,
    targets_argument,
    yes_option,
)
from trueup.core.check import Guard
from trueup.core.errors import PlanRefused, UsageError
from trueup.core.model import LOCAL, REMOTE, Entry, Key, Kind
from trueup.core.plan import Item, Plan
from trueup.core.report import combine, exit_code, plan_exit_code
from trueup.core.strategy import Conflict
from trueup.core.table import Verb
from trueup.render.documents import summary_fields
from trueup.render.tables import CONSEQUENCES, conflict_block, conflict_lines
from trueup.render.text import line
from trueup.targets.datasets import Datasets

ANSWERS = {"local": Conflict.LOCAL_WINS, "remote": Conflict.REMOTE_WINS, "both": Conflict.BACKUP_BOTH}

keys_argument = click.argument("words", nargs=-1, required=True, metavar="[NAME | folder LOCAL REMOTE] KEY")


@click.group(cls=Group)
def conflicts() -> None:
    """List, show and resolve conflicts.

    \b
    Examples:
      trueup conflicts ls
      trueup conflicts show photos notes.txt
      trueup conflicts resolve photos notes.txt --keep local

    An item is in conflict when both sides changed it since they last agreed. Everything else is synced meanwhile.
    """


@conflicts.command("ls", cls=Command)
@targets_argument
@policy_options
@pass_session
def ls(session: Session, *, names: tuple[str, ...], overrides: Overrides) -> int:
    """List what waits for a person.

    \b
    Examples:
      trueup conflicts ls                 of every target
      trueup conflicts ls photos

    The exit code is 4 if there is any.
    """

    async def work(runner: Runner) -> int:
        chosen = choose_all(runner, names, overrides)
        entries: list[dict[str, Any]] = []

        async def one(index: int) -> int:
            target = chosen[index]
            entries.append({"target": target.spec.name, "items": []})
            plan = await runner.engine.plan(target.spec)
            runner.display.close()
            entries[-1] |= {"items": plan.conflicts, "summary": summary_fields(plan)}
            runner.event("conflicts", **entries[-1])
            if session.text:
                session.show(conflict_lines(plan, replace(target.words, flags=replace(overrides, keep=None).flags())))
            return plan_exit_code(plan, drift=False)

        results = await runner.each([target.spec.name for target in chosen], one)
        code = combine([code for code, _ in results])
        for entry, (own, failure) in zip(entries, results, strict=True):
            entry |= {"error": failure, "exit_code": own}
        finish(session, "conflicts", targets=entries, exit_code=code)
        return code

    return run_engine(session, work)


@conflicts.command("show", cls=Command)
@keys_argument
@policy_options
@pass_session
def show(session: Session, *, words: tuple[str, ...], overrides: Overrides) -> int:
    """Show both versions of a conflict, and what each answer would do.

    \b
    Examples:
      trueup conflicts show photos notes.txt
      trueup conflicts show folder ~/a /mnt/a notes.txt
    """

    async def work(runner: Runner) -> int:
        target, keys = _parse(runner, words, overrides)
        no_more(keys[1:])
        plan = await runner.engine.plan(target.spec)
        runner.display.close()
        item = _find(target, plan, keys[0])
        if session.text:
            session.show(conflict_block(item, plan))
            if all(isinstance(seen, Entry) and seen.content.kind is Kind.FILE for seen in item.seen.values()):
                local, remote = [await version(runner, target, side, item.key, item) for side in (LOCAL, REMOTE)]
                session.show(painted(item.key, local, remote))
            session.show(line(f"  --keep {answer:<7} {what}") for answer, what in CONSEQUENCES.items())
        finish(session, "conflict", target=plan.target, item=item, answers=CONSEQUENCES, exit_code=0)
        return 0

    return run_engine(session, work)


@conflicts.command("resolve", cls=Command)
@keys_argument
@click.option("--keep", type=click.Choice(list(ANSWERS)), help="Which version holds; nothing is preselected.")
@policy_options_but_keep
@allow_option
@yes_option
@pass_session
def resolve(
    session: Session,
    *,
    words: tuple[str, ...],
    keep: str | None,
    overrides: Overrides,
    allow: tuple[Guard, ...],
    yes: bool,
) -> int:
    """Settle conflicts by saying which version holds.

    \b
    Examples:
      trueup conflicts resolve photos notes.txt --keep local
      trueup conflicts resolve photos notes.txt todo.txt --keep both
      trueup conflicts resolve folder ~/a /mnt/a notes.txt --keep remote

    Only these items are touched. The version that gives way goes to the trash, and `trueup undo last` brings it back.
    """

    async def work(runner: Runner) -> int:
        target, keys = _parse(runner, words, overrides)
        plan = await runner.engine.plan(target.spec)
        items = [_find(target, plan, key) for key in keys]
        answer = keep or await _ask(runner, items, plan)
        return await _settle(runner, target, items, ANSWERS[answer], allow=allow, yes=yes)

    return run_engine(session, work)


async def _settle(
    runner: Runner, target: Chosen, items: Sequence[Item], answer: Conflict, *, allow: tuple[Guard, ...], yes: bool
) -> int:
    keys = [item.key for item in items]

    def chosen(item: Item) -> bool:
        return any(item.key == key or item.key.startswith(f"{key}/") for key in keys)

    def needless(plan: Plan) -> bool:
        """The answer was the decision; only what it cannot take back is asked for."""
        deletes = any(step.verb is Verb.DELETE for item in plan.changes for step in item.steps)
        return not plan.destroys and not deletes

    session = runner.session
    asked = Asked(runner, target.words, yes=yes, needless=needless)
    try:
        report = await runner.engine.run(
            target.spec,
            confirm=asked.confirm,
            allow=allow,
            resolve=dict.fromkeys(keys, answer),
            select=chosen,
            command=session.typed,
        )
    except* PlanRefused as group:
        present_refused(runner, group, target.words)
        raise
    ours = replace(report.plan, items=tuple(item for item in report.plan.items if chosen(item)))
    report = replace(report, plan=ours)
    conclude(runner, report, target.words, shown=asked.shown)
    code = exit_code(report)
    entry = {"target": target.spec.name, "report": report, "error": None, "exit_code": code}
    finish(session, "results", dry_run=False, results=[entry], exit_code=code)
    return code


async def _ask(runner: Runner, items: Sequence[Item], plan: Plan) -> str:
    """Nothing is preselected, and each answer says what it does."""
    runner.require_terminal("which version holds?", option="--keep local|remote|both")
    session = runner.session
    for item in items:
        session.tell(conflict_block(item, plan))
    session.tell(line(f"  {answer:<7} {what}") for answer, what in CONSEQUENCES.items())
    while True:
        answer = (await runner.prompt(f"Keep which ({', '.join(ANSWERS)})? ")).strip().lower()
        if answer in ANSWERS:
            return answer
        if not answer:
            raise UsageError("nothing was decided, nothing was done")


def _parse(runner: Runner, words: tuple[str, ...], overrides: Overrides) -> tuple[Chosen, tuple[Key, ...]]:
    """The target and the keys; the target may be left out where there is only one."""
    known = words[0] == "folder" or words[0] in runner.engine.targets or len(words) > 1
    target, rest = choose(runner, words if known else (), overrides)
    if not isinstance(target.spec, Datasets):
        folders_of(target)
    keys = tuple(Key(key.rstrip("/")) for key in (rest if known else words))
    if not keys:
        raise UsageError("which item?", attempt=f"trueup conflicts ls {target.words.target}")
    return target, keys


def _find(target: Chosen, plan: Plan, key: Key) -> Item:
    for item in plan.conflicts:
        if item.key.rstrip("/") == key:
            return item
    from difflib import get_close_matches

    names = [item.key for item in plan.conflicts]
    near = get_close_matches(key, names, n=1)
    why = f"did you mean {near[0]}?" if near else f"{len(names)} others are" if names else "nothing is"
    raise UsageError(f"{key} is not in conflict", why=why, attempt=f"trueup conflicts ls {target.words.target}")
