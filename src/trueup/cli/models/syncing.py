"""``trueup sync models``: what AI providers list, into the catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click

from trueup.api.catalogues import TIMEOUT_SECONDS, Answer, Catalogue, Survey
from trueup.api.statistics import Statistic, statistics
from trueup.cli.answers import finish
from trueup.cli.choices import word_option
from trueup.cli.common import Session, pass_session
from trueup.cli.group import Command
from trueup.cli.models.ages import ago
from trueup.cli.models.packages import ages
from trueup.cli.running import Runner, run_engine
from trueup.core.check import Guard as EngineGuard
from trueup.core.report import EXIT_DRIFT, EXIT_FAILED, EXIT_OK, EXIT_PARTIAL, EXIT_REFUSED, Report, Status, combine
from trueup.engine.ambient import Ambient
from trueup.render.names import count, printable
from trueup.render.text import Line, line
from trueup.targets.models import Guard

SHOWN = 3
"""Models that a dry run names."""
NONE = "No providers available for synchronization."


@dataclass(frozen=True, slots=True)
class _Wanted:
    providers: tuple[str, ...]
    force: bool
    dry_run: bool
    timeout: float
    allow: tuple[Guard, ...]


@click.command("models", cls=Command)
@click.option("--provider", "providers", metavar="PROVIDER", multiple=True, help="Sync specific provider only.")
@click.option("--force", is_flag=True, help="Force refresh even if recently synced.")
@click.option("--dry-run", is_flag=True, help="Show what would be synced without syncing.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=TIMEOUT_SECONDS,
    metavar="SECONDS",
    help="For each provider, everything together (default: 30).",
)
@word_option("--allow", Guard, multiple=True, explain="Let this one run pass a guard.")
@pass_session
def sync_models(
    session: Session,
    *,
    providers: tuple[str, ...],
    force: bool,
    dry_run: bool,
    timeout: float,
    allow: tuple[Guard, ...],
) -> int:
    """Sync the lists of AI models of all providers with credentials into the local catalogue.

    \b
    Examples:
      trueup sync models
      trueup sync models --provider openai --force
      trueup sync models --dry-run
      trueup sync models --quiet          for cron: errors only

    Providers are asked at the same time. A list that cannot be had to its end changes nothing. A model that is absent
    from one list is marked missing, from the next too, removed; `trueup undo last` takes a run back. If more than 30 %
    vanish at once nothing is marked without --allow shrink, and an empty list needs --allow empty.

    The exit code is 0 if all went well (skipped counts as well), 1 if no provider is available or all failed, 2 if
    some failed, 5 if a guard refused; with --dry-run --quiet it is 3 if anything would change.
    """
    wanted = _Wanted(providers, force, dry_run, timeout, allow)

    async def work(runner: Runner) -> int:
        return await _Sync(runner, wanted).run()

    return run_engine(session, work)


@dataclass(slots=True)
class _Sync:
    runner: Runner
    wanted: _Wanted

    async def run(self) -> int:
        session, wanted = self.runner.session, self.wanted
        config = self.runner.config
        catalogue = Catalogue(config, config.state_dir, Ambient())  # an engine is not needed before there are answers
        catalogue.providers.named(wanted.providers)
        self._begin()
        survey = await catalogue.survey(
            wanted.providers, force=wanted.force, timeout_seconds=wanted.timeout, allow=wanted.allow
        )
        if session.verbose and survey.skipped:
            self._say(*(line(f"Skipping {one.name}: {one.why}", "yellow") for one in survey.skipped), line())
        if not survey.answers:
            session.tell([line(NONE, "yellow")])
            finish(session, "models", **_document(survey, None, wanted, [], EXIT_FAILED))
            return EXIT_FAILED
        if wanted.dry_run:
            return await self._rehearse(survey)
        after_n = await catalogue.last_change()
        report = await self._apply(survey)
        await catalogue.remember(survey, report)
        unwritten = self._unwritten(report)
        failures = {one.id: one.error for one in survey.answers if one.error} | unwritten
        self._show(survey, failures)
        if session.verbose:
            self._say(*ages(survey.packages, survey.at_ns))
        untold = await catalogue.tell(survey, after_n=after_n)
        self.runner.fail("", untold)
        code = combine([_code(survey, failures), EXIT_PARTIAL if untold else EXIT_OK])
        finish(session, "models", **_document(survey, report, wanted, self._entries(survey, failures), code))
        return code

    def _begin(self) -> None:
        if self.wanted.dry_run:
            self._say(line("DRY RUN - No changes will be made", "yellow"), line())
        self._say(line("Syncing models from AI providers..."), line())

    async def _apply(self, survey: Survey) -> Report | None:
        if not survey.answered:
            return None
        self.runner.stop.writing = True
        # An emptied side is the business of the guards above, each account by itself.
        report = await self.runner.engine.run(
            survey.spec, allow=(EngineGuard.EMPTIED,), command=self.runner.session.typed
        )
        self.runner.stop.writing = False
        self.runner.display.close()
        return report

    @staticmethod
    def _unwritten(report: Report | None) -> dict[str, str]:
        """Accounts of which something could not be recorded, and why."""
        if report is None:
            return {}
        return {
            outcome.key.partition("/")[0]: outcome.why
            for outcome in reversed(report.outcomes)
            if outcome.status is not Status.DONE
        }

    # -- for real ------------------------------------------------------------------------------------------------

    def _show(self, survey: Survey, failures: dict[str, str]) -> None:
        done = [one for one in survey.answered if one.id not in failures]
        for answer in survey.answers:
            self._say(line(f"{printable(answer.name)}:"))
            self._say(*self._answer(answer, survey, failures))
            self._say(line())
        total = sum(len(one.entries) for one in done)
        if failures:
            ended = "Sync completed with errors!" if len(failures) < len(survey.answers) else "Sync failed!"
            self._say(line(ended, "red"))
        else:
            self._say(line("Sync completed successfully!", "green"))
        self._say(line(f"Total: {count(total, 'model')} synced across {count(len(done), 'provider')}"))
        self._errors(survey, failures)

    def _answer(self, answer: Answer, survey: Survey, failures: dict[str, str]) -> Iterator[Line]:
        if answer.id in failures:
            yield line(f"  ❌ Synchronization failed: {printable(failures[answer.id])}", "red")
            return
        if answer.listing is None:
            yield from _fresh(answer, survey)
            return
        yield line(f"  ✓ Found {count(len(answer.entries), 'model')}", "green")
        if not failures or self.runner.session.verbose:
            yield line("  ✓ Statistics updated", "green")
        yield from _held(answer)
        if self.runner.session.verbose:
            for statistic in _statistics(answer):
                yield line(f"    - {statistic}")

    def _errors(self, survey: Survey, failures: dict[str, str]) -> None:
        if not failures:
            return
        listed = [(one.name, printable(failures[one.id])) for one in survey.answers if one.id in failures]
        if self.runner.session.quiet:
            self.runner.session.tell(line(f"Failed to sync {name}: {why}", "red") for name, why in listed)
        self._say(line(), line("Errors encountered:"), *(line(f"- {name}: {why}") for name, why in listed))

    def _say(self, *lines: Line) -> None:
        if self.runner.session.text:
            self.runner.session.show(lines)

    # -- a dry run -----------------------------------------------------------------------------------------------

    async def _rehearse(self, survey: Survey) -> int:
        from trueup.api.listed import changed_accounts

        plan = await self.runner.engine.plan(survey.spec)
        self.runner.display.close()
        failures = {one.id: one.error for one in survey.answers if one.error}
        for answer in survey.answers:
            self._say(line(f"{printable(answer.name)}:"))
            self._say(*self._would(answer, survey, failures))
            self._say(line())
        done = survey.answered
        total = sum(len(one.entries) for one in done)
        self._say(line("Dry run completed!" if not failures else "Dry run completed with errors!"))
        self._say(line(f"Total: {count(total, 'model')} would be synced across {count(len(done), 'provider')}"))
        self._errors(survey, failures)
        codes = [_code(survey, failures)]
        never = any(one.before.success_ns is None for one in done)
        if self.runner.session.quiet and (never or plan.changes):
            codes.append(EXIT_DRIFT)
        code = combine(codes)
        changing = changed_accounts(plan)
        entries = [entry | {"would_change": entry["account"] in changing} for entry in self._entries(survey, failures)]
        finish(self.runner.session, "models", **_document(survey, None, self.wanted, entries, code))
        return code

    def _would(self, answer: Answer, survey: Survey, failures: dict[str, str]) -> Iterator[Line]:
        if answer.id in failures:
            yield line(f"  ❌ Synchronization failed: {printable(failures[answer.id])}", "red")
            return
        if answer.listing is None:
            yield from _fresh(answer, survey)
            return
        yield line(f"  Would sync: {count(len(answer.entries), 'model')}")
        yield line(f"  Last synced: {ago(answer.before.success_ns, survey.at_ns)}")
        yield from _held(answer)
        # A first list is new as a whole; names tell something only where there was one before.
        if answer.before.success_ns is not None or self.runner.session.verbose:
            shown = answer.entries[: None if self.runner.session.verbose > 1 else SHOWN]
            yield line("  Models:")
            for entry in shown:
                yield line(f"    - {printable(entry.id)}")
            if len(answer.entries) > len(shown):
                yield line(f"    ... and {len(answer.entries) - len(shown)} more")

    # -- for programs --------------------------------------------------------------------------------------------

    def _entries(self, survey: Survey, failures: dict[str, str]) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = [
            {
                "provider": one.name,
                "account": one.id,
                "status": "failed" if one.id in failures else "skipped" if one.listing is None else "synced",
                "reason": "cache_valid" if one.listing is None else "",
                "error": failures.get(one.id, ""),
                "guard": one.guard,
                "models": None if one.listing is None or one.id in failures else len(one.entries),
                "note": one.listing.note if one.listing else "",
                "last_success_ns": one.before.success_ns,
                "seconds": round(one.seconds, 3),
                "statistics": [
                    {"label": each.label, "count": each.count, "unknown": each.unknown} for each in _statistics(one)
                ],
            }
            for one in survey.answers
        ]
        for entry in entries:
            self.runner.event("provider", **entry)
        return entries


def _statistics(answer: Answer) -> list[Statistic]:
    conflicts = sum(len(entry.conflicts) for entry in answer.entries)
    return statistics(
        answer.account.provider, [(entry.id, entry.facts) for entry in answer.entries], conflicts=conflicts
    )


def _fresh(answer: Answer, survey: Survey) -> Iterator[Line]:
    yield line("  ⏭ Skipped (cache_valid)", "yellow")
    yield line(f"    Last sync: {ago(answer.before.success_ns, survey.at_ns)}")


def _held(answer: Answer) -> Iterator[Line]:
    """What is kept although it is not listed."""
    if answer.guard is not None:
        what = f"{count(answer.held, 'model')} vanished at once, nothing is marked"
        yield line(f"  ! {what}; if that is right: --allow {answer.guard.value}", "yellow")
    elif answer.listing is not None and answer.listing.note:
        yield line(f"  ! {printable(answer.listing.note)}: the list is not complete, nothing is marked", "yellow")


def _code(survey: Survey, failures: dict[str, str]) -> int:
    guards = [one for one in survey.answers if one.guard is not None]
    codes = [EXIT_REFUSED] if guards else [EXIT_OK]
    if failures:
        codes.append(EXIT_FAILED if len(failures) == len(survey.answers) else EXIT_PARTIAL)
    return combine(codes)


def _document(
    survey: Survey, report: Report | None, wanted: _Wanted, entries: list[dict[str, Any]], code: int
) -> dict[str, Any]:
    return {
        "dry_run": wanted.dry_run,
        "run": None if report is None else report.run,
        "providers": entries,
        "packages": survey.packages,
        "unavailable": [{"provider": one.name, "reason": one.why} for one in survey.skipped],
        "exit_code": code,
    }
