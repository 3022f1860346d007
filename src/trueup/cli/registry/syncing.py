"""``trueup sync policies|envs|all``: what a registry records, against weights and images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from trueup.cli.answers import finish
from trueup.cli.common import Session, pass_session
from trueup.cli.distant import Distant
from trueup.cli.group import Command
from trueup.cli.registry.options import Options, gathered
from trueup.cli.running import Runner, run_engine
from trueup.cli.sync import present_refused
from trueup.cli.targets import allow_option, yes_option
from trueup.core.check import Guard
from trueup.core.errors import AccessDenied, PlanRefused, UsageError
from trueup.core.model import Entry, Recorded, Side
from trueup.core.plan import Item, Plan
from trueup.core.report import EXIT_DRIFT, EXIT_OK, Ending, Report, Status, combine, exit_code, plan_exit_code
from trueup.core.table import Standing, Verb
from trueup.render.names import printable, size
from trueup.render.plans import Words
from trueup.render.text import Line, boxed, line
from trueup.targets import environments, policies
from trueup.targets.environments import Environments
from trueup.targets.policies import Policies

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Wording:
    """How a section speaks of its entries."""

    command: str
    many: str
    """As in ``Scanning policies...``."""
    one: str
    """As in ``Remove 2 policy entries``."""
    lacks: str
    """As in ``with missing weights``."""
    well: str
    content: Side
    """The side that holds what is recorded."""
    columns: tuple[str, ...]
    row: Callable[[Item], tuple[str, ...]]


def _policy_row(item: Item) -> tuple[str, ...]:
    name, version = item.key.rsplit(":", 1)
    return name, version, str(recorded(item).get("path") or ""), "Missing"


def _environment_row(item: Item) -> tuple[str, ...]:
    return item.key, str(recorded(item).get("image") or ""), "Missing"


def recorded(item: Item) -> dict[str, Any]:
    """What the registry says of an entry."""
    record = item.side(policies.RECORD)
    return record.record.fields if isinstance(record, Recorded) else {}


POLICIES = Wording(
    "policies",
    "policies",
    "policy",
    "missing weights",
    "All policies in database have weights on disk",
    policies.DISK,
    ("Name", "Version", "Path", "Status"),
    _policy_row,
)
ENVIRONMENTS = Wording(
    "envs",
    "environments",
    "environment",
    "missing Docker images",
    "All environments in database have Docker images",
    environments.ENGINE,
    ("Name", "Image", "Status"),
    _environment_row,
)


def _syncing(function: F) -> F:
    for option in (
        yes_option,
        allow_option,
        click.option(
            "--port",
            type=click.IntRange(1, 65535),
            metavar="INTEGER",
            help="Send the run to `trueup serve` on this port, with its own settings.",
        ),
        click.option("--adopt", is_flag=True, help="Record what is there and recorded nowhere."),
        click.option("--dry-run", is_flag=True, help="Show what would be removed without actually removing."),
    ):
        function = option(function)
    return gathered(function)


@dataclass(slots=True)
class Section:
    """One kind of entries, scanned, shown, asked about, and put right."""

    runner: Runner
    wording: Wording
    yes: bool
    dry_run: bool
    allow: tuple[Guard, ...]
    typed: str
    distant: Distant | None = None
    """The server that does it, in place of this process."""
    whole: bool = False
    """Whether it is a part of ``sync all``."""
    shown: bool = field(default=False, init=False)

    async def run(self, spec: Policies | Environments) -> tuple[int, Report]:
        """Scan, show, ask, apply. Returns the exit code and what became of it."""
        self._say(f"Scanning {self.wording.many}...")
        if self.dry_run:
            return await self._rehearse(spec)
        try:
            report = await self._run(spec)
        except* PlanRefused as group:
            present_refused(self.runner, group, Words(self.wording.command, self.typed))
            raise
        self.runner.stop.writing = False
        if not self.shown:
            self._show(report.plan)
        self._conclude(report)
        return (EXIT_DRIFT if report.ending is Ending.DECLINED else exit_code(report)), report

    async def _run(self, spec: Policies | Environments) -> Report:
        if self.distant is not None:
            return await self.distant.run(confirm=self._confirm, allow=self.allow)
        return await self.runner.engine.run(
            spec, confirm=self._confirm, allow=self.allow, command=self.runner.session.typed
        )

    async def _rehearse(self, spec: Policies | Environments) -> tuple[int, Report]:
        plan = await (self.runner.engine.plan(spec) if self.distant is None else self.distant.plan())
        refusals = self.runner.engine.refusals(plan, spec, allow=self.allow)
        self._show(plan)
        if plan.changes:
            self._say("Dry run - no changes made")
        self._lines(
            line(f"x refused: {refusal.why}; --allow {refusal.guard.value} lets one run pass") for refusal in refusals
        )
        codes = [plan_exit_code(plan, drift=self.runner.session.quiet), PlanRefused.exit_code if refusals else 0]
        return combine(codes), Report(plan, Ending.DECLINED)

    async def _confirm(self, plan: Plan) -> bool:
        self._show(plan)
        self.shown = True
        question = self._question(plan)
        if not self.yes:
            self.runner.require_terminal(question)
            answer = await self.runner.prompt(f"{question} [y/N]: ")
            if answer.strip().lower() not in ("y", "yes"):
                return False
        self.runner.stop.writing = True
        return True

    def _question(self, plan: Plan) -> str:
        removed = len(_removed(plan))
        added = len(plan.changes) - removed
        parts = [f"Remove {removed} {self.wording.one} entries from database"] if removed else []
        if added:
            parts.append(f"{'record' if parts else 'Record'} {added} {self.wording.one} entries")
        return " and ".join(parts) + "?"

    def _show(self, plan: Plan) -> None:
        """The table of what is missing, and what else is not as it should be."""
        runner = self.runner
        runner.display.close()
        runner.event("plan", plan=plan)
        removed = _removed(plan)
        rest = [item for item in plan.items if item not in removed]
        observed = plan.observed.get(self.wording.content)
        if observed is None or observed.complete:
            self._lines(self._rest(rest))
        if removed:
            self._say("", f"Found {len(removed)} {self.wording.many} with {self.wording.lacks}:", "")
            rows = [tuple(map(printable, self.wording.row(item))) for item in removed]
            self._lines([*boxed(self.wording.columns, rows), line()])
        elif observed is not None and not observed.complete:
            self._unseen(observed.why)
        elif not rest:
            self._lines([((f"✓ {self.wording.well}", "green"),)])

    def _unseen(self, why: str) -> None:
        what = "connecting to Docker" if self.wording.content == environments.ENGINE else "looking at weights"
        told = [line(f"Error {what}: {printable(why)}", "red")]
        if self.runner.session.quiet:
            self.runner.session.tell(told)
        else:
            self._lines(told)

    def _rest(self, items: Iterable[Item]) -> Iterable[Line]:
        """Damaged, unknown, unregistered: each with what to do about it."""
        for item in items:
            key, why = printable(item.key), printable(item.why)
            match item.standing:
                case Standing.DAMAGED:
                    yield line(f"x damaged       {key}: {why}", "red")
                    yield line(f"                try: maple pull policy {key}, or trueup registry forget {key}", "dim")
                case Standing.UNKNOWN:
                    yield line(f"? unknown       {key}: {why}", "magenta")
                case Standing.UNREGISTERED:
                    seen = item.side(self.wording.content)
                    amount = f" ({size(seen.content.size)})" if isinstance(seen, Entry) else ""
                    yield line(f"* unregistered  {key}{amount}: {why}", "yellow")
                    yield line(f"                try: trueup sync {self.wording.command}{self.typed} --adopt", "dim")
                case _:
                    yield line(f"r+ record       {key}: {why}", "green")

    def _conclude(self, report: Report) -> None:
        self.runner.event("report", report=report)
        done = {outcome.key: outcome for outcome in report.outcomes}
        removed = 0
        for item in report.plan.changes:
            outcome = done.get(item.key)
            if outcome is None:
                continue
            name = printable(item.key)
            if outcome.status is Status.DONE:
                gone = item in _removed(report.plan)
                removed += gone
                self._lines([line(f"✓ {'Removed' if gone else 'Recorded'} {name}", "green")])
            else:
                self.runner.session.tell([line(f"✗ {name}: {printable(outcome.why)}", "red")])
        if any(outcome.code == AccessDenied.code for outcome in report.outcomes):
            self.runner.session.tell([line(f"  try: trueup doctor {self.wording.command}", "dim")])
        if self.whole and removed:
            self._lines([line(), line(f"✓ Sync complete: Removed {removed} {self.wording.one} entries", "green")])

    def _say(self, *texts: str) -> None:
        self._lines(line(text) for text in texts)

    def _lines(self, lines: Iterable[Line]) -> None:
        if self.runner.session.text:
            self.runner.session.show(lines)


def _removed(plan: Plan) -> list[Item]:
    return [item for item in plan.changes if any(step.verb is Verb.RECORD_REMOVE for step in item.steps)]


def _command(session: Session, sections: list[str], options: Options, port: int | None, **flags: Any) -> int:
    if port is not None and options != Options():
        raise UsageError(
            "--port takes no other settings", why="the server has its own", attempt="without --port, or without these"
        )
    state_dir = session.load_config().state_dir if port is not None else Path()

    async def work(runner: Runner) -> int:
        whole = len(sections) > 1
        specs: dict[str, Callable[[Runner], Policies | Environments]] = {
            "policies": options.policies,
            "envs": options.environments,
        }
        wordings = {"policies": POLICIES, "envs": ENVIRONMENTS}
        entries: list[dict[str, Any]] = []

        def heading(number: int) -> None:
            title = "Syncing Policies" if sections[number] == "policies" else "Syncing Environments"
            if whole and session.text:
                session.show([line(), line(f"{number + 1}. {title}"), line("-" * 50)])

        async def one(number: int) -> int:
            name = sections[number]
            entries.append({"target": name, "report": None})
            heading(number)
            distant = None if port is None else Distant(port, state_dir, name)
            section = Section(runner, wordings[name], typed=options.typed, distant=distant, whole=whole, **flags)
            code, entries[-1]["report"] = await section.run(specs[name](runner))
            return code

        if whole and session.text:
            session.show([line("Starting full sync...")])
        results = await runner.each(sections, one)
        code = combine([code for code, _ in results])
        if whole and session.text and code == EXIT_OK:
            session.show([line(), line("✓ Full sync complete", "green")])
        for entry, (own, failure) in zip(entries, results, strict=True):
            entry |= {"error": failure, "exit_code": own}
        finish(session, "results", dry_run=flags["dry_run"], results=entries, exit_code=code)
        return code

    return run_engine(session, work)


@click.command("policies", cls=Command)
@_syncing
@pass_session
def sync_policies(session: Session, /, *, options: Options, **flags: Any) -> int:
    """Check that the weights of every policy exist; remove entries whose weights are gone.

    \b
    Examples:
      trueup sync policies --dry-run     what would be removed
      trueup sync policies               show it, ask, remove
      trueup sync policies --adopt -y    record weights that nothing records, too

    Only entries of the registry are removed, never weights; removed entries are kept, and `trueup undo last` brings
    them back. Weights that cannot be seen are unknown, and nothing is removed for them.
    """
    return _command(session, ["policies"], options, **flags)


@click.command("envs", cls=Command)
@_syncing
@pass_session
def sync_envs(session: Session, /, *, options: Options, **flags: Any) -> int:
    """Check that the container engine holds the image of every environment; remove entries whose image is gone.

    \b
    Examples:
      trueup sync envs --dry-run         what would be removed
      trueup sync envs -y                remove without asking

    Only an engine that says "no such image" makes one missing. An engine that is down, hangs or refuses knows nothing,
    and nothing is removed.
    """
    return _command(session, ["envs"], options, **flags)


@click.command("all", cls=Command)
@_syncing
@pass_session
def sync_all(session: Session, /, *, options: Options, **flags: Any) -> int:
    """Sync policies, then environments. One that fails does not stop the other.

    \b
    Examples:
      trueup sync all --dry-run          check first
      trueup sync all -y                 apply if needed
    """
    return _command(session, ["policies", "envs"], options, **flags)
