"""``trueup sync dataset``: an actor's manifest, local files and remote copy, audited and brought into agreement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import click

from trueup.api.datasets import Synced, actors, done, needless, planned, refuse_unknown
from trueup.cli.answers import finish
from trueup.cli.common import Output, Session, pass_session
from trueup.cli.group import Command
from trueup.cli.running import Runner, changes_question, run_engine
from trueup.cli.sync import Asked, Wanted, conclude, present_plan, present_refused
from trueup.cli.targets import allow_option, dataset_words, yes_option
from trueup.core.check import Guard
from trueup.core.errors import PlanRefused, TrueupError, UsageError
from trueup.core.plan import Plan
from trueup.core.report import EXIT_DRIFT, EXIT_OK, EXIT_REFUSED, Ending, Report, combine, exit_code, plan_exit_code
from trueup.render.documents import dump
from trueup.render.names import printable
from trueup.render.plans import Words, plan_lines
from trueup.render.text import Line, line
from trueup.targets.datasets import Datasets

AT_ONCE = 4
"""Actors that are synced at the same time."""


@click.command("dataset", cls=Command)
@click.argument("actor", nargs=-1, metavar="[ACTOR_ID ACTOR_NAME]")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--delete-orphans", is_flag=True, help="What the manifest does not name goes to the trash.")
@click.option("--only", metavar="GLOB", multiple=True, help="Only these files; as in .gitignore.")
@click.option("--all", "every", is_flag=True, help="Every actor that has a manifest, each a run of its own.")
@allow_option
@yes_option
@pass_session
def sync_dataset(
    session: Session,
    *,
    actor: tuple[str, ...],
    dry_run: bool,
    delete_orphans: bool,
    only: tuple[str, ...],
    every: bool,
    allow: tuple[Guard, ...],
    yes: bool,
) -> int:
    """Audit an actor's manifest, local files and remote copy, then sync everything.

    \b
    Examples:
      trueup sync dataset 0042 0042_european_30_male
      trueup sync dataset 0042 0042_european_30_male --dry-run
      trueup sync dataset 0042 0042_european_30_male --delete-orphans
      trueup sync dataset 0042 0042_european_30_male --only '*.png'
      trueup sync dataset --all --yes

    What is on one side only is copied to the other, what nothing records is recorded, entries without any copy are
    removed. Nobody is asked as long as nothing is deleted, and few entries are removed. Where they are the table
    [datasets] of the configuration says. With --json: the counts, and what went wrong.
    """
    wanted = Wanted(yes, dry_run, allow, only)
    if every == bool(actor) or len(actor) not in (0, 2):
        raise UsageError("whose dataset?", why="it takes ACTOR_ID and ACTOR_NAME, or --all")

    async def work(runner: Runner) -> int:
        if every:
            return await _Every(runner, wanted, delete_orphans=delete_orphans).run()
        spec = runner.engine.dataset(actor[0], actor[1], delete_orphans=delete_orphans)
        code, synced = await _one(runner, spec, wanted)
        if session.output is Output.JSON:
            session.answer(dump(synced.document))
        elif session.output is Output.JSONL:
            runner.event("synced", **synced.document)
            finish(session, "synced", exit_code=code)
        elif code != EXIT_REFUSED:
            session.show([summary(synced, dry_run=dry_run)])
        return code

    return run_engine(session, work)


def summary(synced: Synced, *, dry_run: bool = False) -> Line:
    """All counts in one line."""
    counts = {name.replace("_", " "): number for name, number in synced.document.items() if isinstance(number, int)}
    text = ", ".join(f"{name} {number}" for name, number in counts.items() if number) or "nothing to do"
    problems = len(synced.errors)
    errors = f", {problems} {'error' if problems == 1 else 'errors'}" if problems else ""
    style = "yellow" if problems else "green"
    return line(f"{'Would be' if dry_run else 'Sync complete'}: {text}{errors}", style)


async def _one(runner: Runner, spec: Datasets, wanted: Wanted) -> tuple[int, Synced]:
    """Audit, show, ask if need be, sync, and show what became of it."""
    words = _words(spec)
    if wanted.dry_run:
        plan = await runner.engine.plan(spec, select=wanted.selector)
        await refuse_unknown(spec, plan)
        refusals = runner.engine.refusals(plan, spec, allow=wanted.allow)
        present_plan(runner, plan, words, refusals)
        codes = [plan_exit_code(plan, drift=runner.session.quiet), EXIT_REFUSED if refusals else EXIT_OK]
        return combine(codes), planned(plan)
    asked = Asked(runner, words, yes=wanted.yes, needless=lambda plan: needless(plan, spec.limits))
    try:
        report = await runner.engine.run(
            spec,
            confirm=asked.confirm,
            allow=wanted.allow,
            select=wanted.selector,
            command=runner.session.typed,
        )
    except* PlanRefused as group:
        present_refused(runner, group, words)
        raise
    await refuse_unknown(spec, report.plan)
    return conclude(runner, report, words, shown=asked.shown), done(report)


def _words(spec: Datasets) -> Words:
    return Words(dataset_words(spec), " --delete-orphans" if spec.delete_orphans else "")


@dataclass(slots=True)
class _Every:
    """Every actor, a few at the same time; one that fails stops none of the others."""

    runner: Runner
    wanted: Wanted
    delete_orphans: bool
    results: list[dict[str, Any]] = field(default_factory=list)
    asking: anyio.Lock = field(default_factory=anyio.Lock)

    async def run(self) -> int:
        layout = self.runner.engine.layout
        found = await anyio.to_thread.run_sync(lambda: list(actors(layout)))
        limiter = anyio.CapacityLimiter(AT_ONCE)
        async with anyio.create_task_group() as tasks:
            for number, actor in enumerate(found):
                self.results.append({})
                tasks.start_soon(self._limited, limiter, number, actor)
        self.results = [result for result in self.results if result]  # without those that were not begun
        code = combine([result["exit_code"] for result in self.results])
        session = self.runner.session
        finish(session, "datasets", dry_run=self.wanted.dry_run, actors=self.results, exit_code=code)
        if session.text:
            where = "" if found else f": none has a manifest at {printable(layout.manifest)}"
            session.show([line(f"{len(found)} {'actor' if len(found) == 1 else 'actors'}{where}")])
        return code

    async def _limited(self, limiter: anyio.CapacityLimiter, number: int, actor: tuple[str, str] | TrueupError) -> None:
        async with limiter:
            if not self.runner.stop.number:
                self.results[number] = await self._actor(actor)

    async def _actor(self, actor: tuple[str, str] | TrueupError) -> dict[str, Any]:
        actor_id, actor_name = ("", "") if isinstance(actor, TrueupError) else actor
        synced, code = Synced(), EXIT_OK
        try:
            if isinstance(actor, TrueupError):
                raise actor
            spec = self.runner.engine.dataset(actor_id, actor_name, delete_orphans=self.delete_orphans)
            code, synced = await self._sync(spec)
        except* TrueupError as group:
            errors = [error for error in _leaves(group) if isinstance(error, TrueupError)]
            self.runner.fail(actor_name, errors)
            code = combine([error.exit_code for error in errors])
            synced.errors += [str(error) for error in errors]
        if self.runner.session.text and not synced.errors:
            self.runner.display.close()
            self.runner.session.show(
                [((f"{printable(actor_name)}  ", "bold"), *summary(synced, dry_run=self.wanted.dry_run))]
            )
        elif self.runner.session.text:
            for error in synced.errors:
                self.runner.session.tell([line(f"{printable(actor_name)}: {printable(error)}", "red")])
        return {"actor_id": actor_id, "actor_name": actor_name, **synced.document, "exit_code": code}

    async def _sync(self, spec: Datasets) -> tuple[int, Synced]:
        engine = self.runner.engine
        if self.wanted.dry_run:
            plan = await engine.plan(spec, select=self.wanted.selector)
            refused = engine.refusals(plan, spec, allow=self.wanted.allow)
            codes = [plan_exit_code(plan, drift=self.runner.session.quiet), EXIT_REFUSED if refused else EXIT_OK]
            return combine(codes), planned(plan)

        async def confirm(plan: Plan) -> bool:
            return await self._confirm(spec, plan)

        report: Report = await engine.run(
            spec,
            confirm=confirm,
            allow=self.wanted.allow,
            select=self.wanted.selector,
            command=self.runner.session.typed,
        )
        self.runner.event("report", report=report)
        code = EXIT_DRIFT if report.ending is Ending.DECLINED else exit_code(report)
        return code, done(report)

    async def _confirm(self, spec: Datasets, plan: Plan) -> bool:
        """As `Asked.confirm`; questions come one after the other, each with its plan."""
        if plan.changes and not self.wanted.yes and not needless(plan, spec.limits):
            question = f"{spec.actor_name}: {changes_question(plan)}"
            self.runner.require_terminal(question)
            async with self.asking:
                words = replace(_words(spec), next=None)
                self.runner.session.tell(plan_lines(plan, words, verbose=self.runner.session.verbose))
                if not await self.runner.ask(question):
                    return False
        self.runner.stop.writing = True
        return True


def _leaves(group: BaseExceptionGroup[TrueupError]) -> Sequence[BaseException]:
    from trueup.cli.failures import leaves

    return list(leaves(group))
