"""Ask providers what they list, and bring the catalogue into agreement with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from trueup.api.alerts import tell
from trueup.api.providers import Providers
from trueup.config import Config
from trueup.core.errors import TrueupError
from trueup.core.model import Row
from trueup.core.report import Report, Status
from trueup.engine.ambient import Ambient
from trueup.engine.groups import ungrouped
from trueup.engine.streams import few_collections
from trueup.stores.catalogue.database import NAME
from trueup.stores.catalogue.keys import parts_of
from trueup.stores.catalogue.library import AccountState, Attempt, DataPackage, Freshness, Library
from trueup.stores.http.accounts import Skipped
from trueup.stores.http.client import Account, Client, Listing, opened, without_key
from trueup.stores.http.curated import Package, installed, packages
from trueup.stores.http.entries import Entry
from trueup.targets.models import Guard, Models

if TYPE_CHECKING:
    from trueup.api.listed import Recorded

TIMEOUT_SECONDS = 30.0
TOGETHER = 32
"""Providers that are asked at once."""
NEEDED_AFTERWARDS = ("trueup.api.listed", "trueup.api.engine", "filelock")
"""Modules that nothing needs before the answers have come; they take as long to load as a service to answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one provider."""

    account: Account
    """Without its key."""
    before: AccountState
    """What was remembered of it."""
    listing: Listing | None = None
    """None: its list is fresh, and it was not asked."""
    seconds: float = 0.0
    guard: Guard | None = None
    """What keeps models that are not listed as they are."""
    held: int = 0
    """How many those are."""

    @property
    def name(self) -> str:
        """The provider's."""
        return self.account.provider.name

    @property
    def id(self) -> str:
        """The account's, as the catalogue writes it."""
        return account_id(self.account)

    @property
    def error(self) -> str:
        """Why there is no list; empty: there is one, or none was asked for."""
        if self.guard is Guard.EMPTY:
            return "The list is empty, and the catalogue is not; --allow empty lets it pass"
        return "" if self.listing is None else self.listing.error

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What it lists."""
        return () if self.listing is None else self.listing.entries


@dataclass(frozen=True, slots=True)
class Survey:
    """What all providers answered."""

    answers: tuple[Answer, ...]
    skipped: tuple[Skipped, ...]
    """Those that cannot be asked, and why."""
    at_ns: int
    rows: tuple[Row, ...] = field(default=(), repr=False)
    packages: tuple[DataPackage, ...] = ()
    """Those that told more of the models."""

    @property
    def answered(self) -> tuple[Answer, ...]:
        """Those with a list that can be used."""
        return tuple(one for one in self.answers if one.listing is not None and not one.error)

    @property
    def spec(self) -> Models:
        """The target that brings the catalogue into agreement with the answers."""
        at = datetime.fromtimestamp(self.at_ns / 1e9, UTC).isoformat(timespec="seconds")
        return Models(accounts=frozenset(one.id for one in self.answered), rows=self.rows, at=at)


def account_id(one: Account) -> str:
    """``provider@fingerprint``."""
    return f"{one.provider.name}@{one.fingerprint}"


class Catalogue:
    """The providers that are configured or found, and what is remembered of them.

    Args:
        config: Where settings of providers stand.
        directory: The state directory.
        ambient: Clock and threads.
        env: The environment, where credentials are looked for; None: the process's own.
    """

    def __init__(self, config: Config, directory: Path, ambient: Ambient, env: Mapping[str, str] | None = None) -> None:
        self._config = config
        self._ambient = ambient
        self.providers = Providers(config, os.environ if env is None else env)
        self.library = Library(directory / NAME)

    def now_ns(self) -> int:
        """The time, by the engine's clock."""
        return self._ambient.clock.now_ns()

    async def survey(
        self,
        names: Collection[str] = (),
        *,
        force: bool = False,
        timeout_seconds: float = TIMEOUT_SECONDS,
        allow: Iterable[Guard] = (),
        on_page: Callable[[str, int], None] = lambda _name, _models: None,
    ) -> Survey:
        """Ask all providers at once. Writes nothing.

        Args:
            names: Of providers; none: all that have credentials.
            force: Also those whose list is fresh.
            timeout_seconds: For each of them, everything together.
            allow: Guards that let this one list pass.
            on_page: Hears how many models of a provider have come so far.

        Raises:
            UsageError: If a name is unknown.
            ConfigError: If a secret cannot be had.
            StoreError: If the catalogue cannot be read.
        """
        threads = self._ambient.threads
        for source in self._config.enrich:  # before anybody is asked in vain
            installed(source)
        accounts, skipped = await threads(self.providers.accounts, names)
        states = {one.account: one for one in await threads(self.library.accounts)}
        answers = {
            account_id(one): Answer(
                without_key(one), states.get(account_id(one), AccountState(account_id(one), one.provider.name))
            )
            for one in accounts
        }
        due = [one for one in accounts if force or self._is_due(answers[account_id(one)].before)]
        limit = anyio.CapacityLimiter(TOGETHER)
        recorded: Recorded = {}
        known: tuple[Package, ...] = ()

        async def ask(client: Client, one: Account) -> None:
            async with limit:
                begun = self._ambient.clock.monotonic()
                listing = await client.models(one, timeout_seconds=timeout_seconds)
                seconds = self._ambient.clock.monotonic() - begun
                answers[account_id(one)] = replace(answers[account_id(one)], listing=listing, seconds=seconds)

        async def prepare() -> None:
            nonlocal recorded, known
            recorded = await threads(self._recorded, set(answers))
            if due and self._config.enrich:
                today = datetime.fromtimestamp(self.now_ns() / 1e9, UTC).date()
                known = await threads(packages, self._config.enrich, today)

        secure = any(one.base_url.startswith("https:") for one in due)
        with few_collections(), ungrouped(TrueupError):
            async with (
                opened(self._ambient.clock, threads, secure=secure) as client,
                anyio.create_task_group() as tasks,
            ):
                client.on_page = on_page
                for one in due:
                    tasks.start_soon(ask, client, one)
                tasks.start_soon(prepare)
        from trueup.api.listed import judged, rows

        at_ns = self.now_ns()
        ordered = tuple(judged(one, recorded, known, frozenset(allow)) for one in answers.values())
        shown = tuple(row for answer in ordered for row in rows(answer, recorded))
        told = tuple(DataPackage(one.name, one.version, one.as_of, at_ns) for one in known)
        return Survey(ordered, tuple(skipped), at_ns, shown, told)

    def _recorded(self, accounts: Collection[str]) -> Recorded:
        """What the catalogue holds of accounts. Blocks; what comes next is loaded too, while answers are awaited."""
        for name in NEEDED_AFTERWARDS:
            import_module(name)
        from trueup.api.listed import recorded

        return recorded(self.library.models(accounts))

    def _is_due(self, before: AccountState) -> bool:
        """Whether a provider is to be asked; one that has failed since is: what a guard refused must be passable."""
        freshness = before.freshness(self.now_ns(), self.providers.fresh_seconds(before.provider))
        return freshness is not Freshness.FRESH or before.failing_ns is not None

    async def remember(self, survey: Survey, report: Report | None) -> None:
        """Remember what was tried, after the catalogue agrees.

        Args:
            survey: What was answered.
            report: What became of the run; None: there was none, because nobody answered.
        """
        failed = _failed(report) if report is not None else frozenset()
        attempts = []
        for answer in survey.answers:
            if answer.listing is None:
                continue
            error = answer.error or ("The catalogue could not be written" if answer.id in failed else "")
            if answer.guard is Guard.SHRINK:  # it stays due, so that the same command with --allow asks again
                error = f"{answer.held} models vanished at once"
            models_seen = None if error else len(answer.entries)
            attempts.append(Attempt(answer.id, answer.account.base_url, models_seen, error))
        if attempts:
            told = survey.packages if survey.answered else ()
            await self._ambient.threads(self.library.attempted, attempts, told, survey.at_ns)

    async def last_change(self) -> int:
        """The number of the latest change in the log."""
        return await self._ambient.threads(self.library.last_change)

    async def tell(self, survey: Survey, *, after_n: int) -> list[TrueupError]:
        """Deliver the alerts that are due.

        Args:
            survey: Whose models.
            after_n: The last change before this run.

        Returns:
            Why deliveries failed.
        """
        accounts = frozenset(answer.id for answer in survey.answers)
        return await tell(self._config.alerts.values(), self.library, self._ambient, accounts=accounts, after_n=after_n)


def _failed(report: Report) -> frozenset[str]:
    """The accounts of which something could not be written."""
    return frozenset(parts_of(outcome.key)[0] for outcome in report.outcomes if outcome.status is not Status.DONE)
