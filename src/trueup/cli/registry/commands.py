"""``trueup registry``: list, add, forget, adopt, verify and remove entries; and ``trueup list``, ``trueup remove``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click

from trueup.api.registries import check_image
from trueup.cli.answers import finish
from trueup.cli.common import Session, pass_session
from trueup.cli.group import Command, Group
from trueup.cli.registry.acting import carried_out, choosing, conclude
from trueup.cli.registry.entries import ENV, POLICY, Found, entries, find, policy_key
from trueup.cli.registry.options import Options, gathered
from trueup.cli.running import Runner, run_engine
from trueup.core.audit import Judged
from trueup.core.errors import UsageError
from trueup.core.model import Damaged, Key, Record
from trueup.core.plan import Item
from trueup.core.report import EXIT_OK, EXIT_PARTIAL, Report, combine
from trueup.core.table import Act, Rule, Standing, Verb
from trueup.render.names import count, pad, printable, size
from trueup.render.text import Line, line, table
from trueup.targets import policies

_STYLES = {"present": "green", "missing": "red", "damaged": "red", "unknown": "magenta", "unregistered": "yellow"}


entry_argument = click.argument("words", nargs=-1, required=True, metavar="[policy|env] NAME")


@click.group(cls=Group)
def registry() -> None:
    """List, add, forget, adopt, verify and remove entries of a registry.

    \b
    Examples:
      trueup registry ls
      trueup registry adopt
      trueup registry remove openvla:7b --delete-files

    To make the whole registry agree with what is there: `trueup sync policies`, `trueup sync envs`, `trueup sync all`.
    """


# -- looking ---------------------------------------------------------------------------------------------------------


@registry.command("ls", cls=Command)
@click.argument("kind", type=click.Choice(["policies", "envs"]), required=False)
@gathered
@pass_session
def ls(session: Session, *, kind: str | None, options: Options) -> int:
    """List what the registry names, how it stands, and what it does not name and should.

    \b
    Examples:
      trueup registry ls
      trueup registry ls policies --json
    """
    return _list(session, {None: (POLICY, ENV), "policies": (POLICY,), "envs": (ENV,)}[kind], options)


@click.command("list", cls=Command)
@click.argument("kind", type=click.Choice(["policies", "envs", "policy", "env", "all"]), required=False)
@gathered
@pass_session
def list_(session: Session, *, kind: str | None, options: Options) -> int:
    """List policies and environments; short for `trueup registry ls`.

    \b
    Examples:
      trueup list
      trueup list envs
    """
    kinds = {"policies": (POLICY,), "policy": (POLICY,), "envs": (ENV,), "env": (ENV,)}
    return _list(session, kinds.get(kind or "", (POLICY, ENV)), options)


def _list(session: Session, kinds: Sequence[str], options: Options) -> int:
    async def work(runner: Runner) -> int:
        found = await entries(runner, options, kinds)
        code = EXIT_PARTIAL if any(one.state == "unknown" for one in found) else EXIT_OK
        if session.text:
            session.show(_listed(found))
        finish(session, "registry", entries=[_fields(one) for one in found], exit_code=code)
        return code

    return run_engine(session, work)


def _listed(found: Sequence[Found]) -> list[Line]:
    if not found:
        return [line("the registry names nothing, and there is nothing that it should name")]
    rows = [
        (one.kind, printable(one.item.key), one.state, "" if one.size is None else size(one.size), printable(one.image))
        for one in found
    ]
    lines = table(("kind", "name", "state", "size", "image"), rows, right=(3,))
    reasons: dict[str, list[Found]] = {}
    for one in found:
        if one.why and one.state != "present":
            reasons.setdefault(one.why, []).append(one)
    for why, alike in reasons.items():
        names = printable(alike[0].item.key) + (f" and {len(alike) - 1} more" if len(alike) > 1 else "")
        lines.append(line(f"  {pad(names, 20)} {printable(why)}", _STYLES[alike[0].state]))
    return lines


def _fields(one: Found) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "name": one.item.key,
        "state": one.state,
        "why": one.why if one.state != "present" else "",
        "size": one.size,
        "recorded": one.fields or None,
    }


@registry.command("verify", cls=Command)
@click.argument("words", nargs=-1, metavar="[[policy] NAME]")
@gathered
@pass_session
def verify(session: Session, *, words: tuple[str, ...], options: Options) -> int:
    """Read every byte of the weights, and compare with what was read before.

    \b
    Examples:
      trueup registry verify
      trueup registry verify openvla:7b

    The first time records what is there. Stopped half-way, the next call goes on where this one was.
    """

    async def work(runner: Runner) -> int:
        spec = options.policies(runner)
        only: tuple[Key, ...] = ()
        if words:
            one = await find(runner, options, (POLICY, words[-1]))
            only = (one.item.key,)
        plan = await runner.engine.plan(replace(spec, only=only), verify=True)
        runner.display.close()
        bad = [item for item in plan.items if _unverified(item) and (not only or item.key in only)]
        well = len(only) - len(bad) if only else plan.agreed
        checked = well + sum(isinstance(item.side(policies.DISK), Damaged) for item in bad)
        codes = [EXIT_PARTIAL] if bad or not plan.complete else [EXIT_OK]
        if session.text:
            session.show(
                line(f"x {_standing(item)}  {printable(item.key)}: {printable(item.why)}", "red") for item in bad
            )
            whole = f"{count(well, 'policy', 'policies')} verified"
            session.show([line(f"✓ {whole}", "green") if not bad else line(f"{whole}, {len(bad)} not")])
        finish(session, "verified", plan=plan, checked=checked, exit_code=combine(codes))
        return combine(codes)

    return run_engine(session, work)


def _unverified(item: Item) -> bool:
    """Whether there should be whole weights, and are none that could be read."""
    return item.side(policies.RECORD) is not None or item.standing in (Standing.DAMAGED, Standing.UNKNOWN)


def _standing(item: Item) -> str:
    return "missing" if item.standing is Standing.PLAIN else item.standing.value


# -- changing --------------------------------------------------------------------------------------------------------


@registry.command("add", cls=Command)
@click.argument("kind", type=click.Choice([POLICY, ENV]))
@click.argument("name")
@click.option("--image", metavar="IMAGE", help="The container image.")
@click.option("--path", metavar="PATH", help="Folder of the weights; else NAME/VERSION below the models root.")
@click.option("--repo", metavar="REPO", help="Where the weights come from.")
@gathered
@pass_session
def add(
    session: Session, *, kind: str, name: str, image: str | None, path: str | None, repo: str | None, options: Options
) -> int:
    """Record a policy or an environment.

    \b
    Examples:
      trueup registry add policy openvla:7b --image openvla:latest
      trueup registry add env libero --image libero:latest
    """
    if kind == ENV and not image:
        raise UsageError(f"env {name} needs an image", attempt=f"trueup registry add env {name} --image IMAGE")
    if kind == ENV and (path or repo):
        raise UsageError("an environment has neither a path nor a repo")
    if image:
        check_image(image)
    key = policy_key(name) if kind == POLICY else Key(name)
    given = {field: value for field, value in {"image": image, "path": path, "repo": repo}.items() if value}

    def ask(judged: Sequence[Judged]) -> list[Judged]:
        there = {one.key: one.seen for one in judged}
        seen = there.get(key, {})
        if seen.get(policies.RECORD) is not None:
            raise UsageError(f"{kind} {key} is recorded already", attempt="trueup registry ls")
        rule = Rule("added", (Act(Verb.RECORD_ADD, policies.RECORD),), why="recorded by hand")
        return [Judged(key, seen, rule)]

    def amend(record: Record) -> Record:
        return Record.of(record.fields | given)

    async def work(runner: Runner) -> int:
        report = await carried_out(runner, options, kind, ask, amend=amend)
        code = conclude(runner, report, "Recorded")
        finish(session, "result", report=report, exit_code=code)
        return code

    return run_engine(session, work)


@registry.command("forget", cls=Command)
@entry_argument
@gathered
@pass_session
def forget(session: Session, *, words: tuple[str, ...], options: Options) -> int:
    """Take an entry out of the registry. Nothing else is touched; `trueup undo last` brings it back.

    \b
    Examples:
      trueup registry forget openvla:7b
      trueup registry forget env libero
    """
    rule = Rule("forgotten", (Act(Verb.RECORD_REMOVE, policies.RECORD),), why="forgotten by hand")
    return _act_on(session, options, words, rule, "Removed")


@registry.command("adopt", cls=Command)
@click.argument("words", nargs=-1, metavar="[[policy|env] NAME]")
@gathered
@pass_session
def adopt(session: Session, *, words: tuple[str, ...], options: Options) -> int:
    """Record what is there and recorded nowhere: one, or all.

    \b
    Examples:
      trueup registry adopt
      trueup registry adopt openvla:7b
    """

    async def work(runner: Runner) -> int:
        if words:
            found = [await find(runner, options, words, recorded=False)]
        else:
            found = [one for one in await entries(runner, options) if one.state == "unregistered"]
        wanted = [one for one in found if not one.recorded]
        if not wanted:
            session.show([line("nothing to adopt: all that is there is recorded", "green")])
        codes = [EXIT_OK]
        reports: list[Report] = []
        for kind in (POLICY, ENV):
            keys = {one.item.key for one in wanted if one.kind == kind}
            if keys:
                content = policies.DISK if kind == POLICY else policies.ENGINE
                rule = Rule("adopted", (Act(Verb.RECORD_ADD, policies.RECORD, content),), why="recorded by hand")
                report = await carried_out(runner, options, kind, choosing(keys, rule))
                codes.append(conclude(runner, report, "Recorded"))
                reports.append(report)
        finish(session, "results", results=reports, exit_code=combine(codes))
        return combine(codes)

    return run_engine(session, work)


def _act_on(session: Session, options: Options, words: Sequence[str], rule: Rule, done: str) -> int:
    async def work(runner: Runner) -> int:
        one = await find(runner, options, words)
        report = await carried_out(runner, options, one.kind, choosing({one.item.key}, rule))
        code = conclude(runner, report, done)
        finish(session, "result", report=report, exit_code=code)
        return code

    return run_engine(session, work)
