"""Which targets a command means, and the settings that its flags change for this one run."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import click

from trueup.cli.choices import word_option
from trueup.cli.running import Runner
from trueup.core.check import Guard, Limits
from trueup.core.errors import UsageError
from trueup.core.strategy import Conflict, Deletes, Direction, Keep
from trueup.render.names import quote
from trueup.render.plans import Words
from trueup.stores import schemes
from trueup.targets import Spec, environments, models, policies
from trueup.targets.datasets import Datasets
from trueup.targets.environments import Environments
from trueup.targets.folders import Folders, Selection
from trueup.targets.models import Models
from trueup.targets.policies import Policies

AD_HOC = "folder"
"""``sync folder LOCAL REMOTE``: a target that no file configures."""

DATASET = "dataset"
"""``sync dataset ACTOR_ID ACTOR_NAME``: an actor, where the configuration says that datasets are."""

F = TypeVar("F", bound=Callable[..., Any])


def max_delete(value: object) -> Limits:
    """``N`` or ``P%``, as an option's type."""
    try:
        return Limits.parse(str(value))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def bandwidth(value: object) -> int:
    """``10MB`` as bytes per second, as an option's type."""
    from trueup.config.forms import Wrong
    from trueup.config.secret import Place
    from trueup.config.values import RATE

    try:
        rate: int = RATE.read_text(str(value), Place(Path(), {}, Path()))
    except Wrong as error:
        raise click.BadParameter(f"{str(value)!r} is not {RATE.allowed}; {error}") from error
    return rate


@dataclass(frozen=True, slots=True)
class Overrides:
    """Settings that flags change; None and empty leave what is configured."""

    name: str | None = None
    direction: Direction | None = None
    conflict: Conflict | None = None
    deletes: Deletes | None = None
    keep: Keep | None = None
    include: tuple[str, ...] = ()
    """In place of those configured."""
    exclude: tuple[str, ...] = ()
    """Beside those configured: a flag must not bring in what a file keeps out."""
    max_delete: Limits | None = None
    bandwidth: int | None = None
    """Bytes per second."""

    def applied(self, spec: Spec) -> Spec:
        """The target with these settings.

        Raises:
            UsageError: If one means nothing for that kind of target.
        """
        if not isinstance(spec, Folders):
            if self.flags():
                raise UsageError(f"{spec.name} is no pair of folders", why=f"nothing there answers to{self.flags()}")
            return spec
        policy = spec.policy
        changed = {
            name: value
            for name in ("direction", "conflict", "deletes", "keep")
            if (value := getattr(self, name)) is not None
        }
        selection = replace(
            spec.selection,
            include=self.include or spec.selection.include,
            exclude=(*spec.selection.exclude, *self.exclude),
        )
        return replace(
            spec,
            name=self.name or spec.name,
            policy=replace(policy, **changed),
            selection=selection,
            limits=self.max_delete or spec.limits,
            tuning=replace(spec.tuning, bytes_per_second=self.bandwidth or spec.tuning.bytes_per_second),
        )

    def flags(self) -> str:
        """As they are typed, each with a leading blank."""
        pairs: list[tuple[str, object]] = [
            (f"--{name.replace('_', '-')}", getattr(self, name))
            for name in ("name", "direction", "conflict", "deletes", "keep", "max_delete", "bandwidth")
        ]
        pairs += [("--include", pattern) for pattern in self.include]
        pairs += [("--exclude", pattern) for pattern in self.exclude]
        return "".join(f" {flag} {quote(str(value))}" for flag, value in pairs if value is not None)


def policy_options(function: F) -> F:
    """Add the flags of `Overrides`; the command gets them as ``overrides``."""
    return _policy_options(function, without="")


def policy_options_but_keep(function: F) -> F:
    """The same for a command whose ``--keep`` means something else."""
    return _policy_options(function, without="keep")


def _policy_options(function: F, *, without: str) -> F:
    options = {
        "name": click.option("--name", metavar="NAME", help="What to call an ad hoc folder in the history."),
        "direction": word_option("--direction", Direction, explain="Which sides may be written."),
        "conflict": word_option("--conflict", Conflict, explain="Who wins when both sides changed."),
        "deletes": word_option("--deletes", Deletes, explain="What a deletion on one side means for the other."),
        "include": click.option(
            "--include", metavar="GLOB", multiple=True, help="Only files that match; as in .gitignore."
        ),
        "exclude": click.option(
            "--exclude", metavar="GLOB", multiple=True, help="No files that match, beside those configured."
        ),
        "max_delete": click.option(
            "--max-delete", type=max_delete, metavar="N|P%", help="Refuse a run that would delete more."
        ),
        "bandwidth": click.option(
            "--bandwidth", type=bandwidth, metavar="SIZE", help="Write no more than this per second to a side: 10MB."
        ),
        "keep": word_option("--keep", Keep, explain="Which replaced and deleted versions go to the trash."),
    }
    options.pop(without, None)

    @functools.wraps(function)
    def gathered(*args: Any, **kwargs: Any) -> Any:
        fields = {name: kwargs.pop(name) for name in options}
        return function(*args, overrides=Overrides(**fields), **kwargs)

    for option in reversed(options.values()):
        gathered = option(gathered)
    return gathered  # type: ignore[return-value]  # click keeps the shape


allow_option = word_option(
    "--allow", Guard, multiple=True, explain="Let this one run pass a guard; see `trueup help guards`."
)
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask. Guards refuse all the same.")
select_option = click.option("--select", metavar="GLOB", multiple=True, help="Only these changes; as in .gitignore.")
targets_argument = click.argument("names", nargs=-1, metavar="[NAME... | folder LOCAL REMOTE | dataset ID NAME]")
target_argument = click.argument("words", nargs=-1, metavar="[NAME | folder LOCAL REMOTE | dataset ID NAME]")


@dataclass(frozen=True, slots=True)
class Chosen:
    """One target, with the flags applied, and how it is typed."""

    spec: Spec
    words: Words


def choose_all(runner: Runner, names: Sequence[str], overrides: Overrides = Overrides()) -> list[Chosen]:
    """The targets that are named; none named: all there are.

    Raises:
        UsageError: If a name is unknown, or nothing is configured.
    """
    if names and names[0] == DATASET:
        chosen, rest = choose(runner, names, overrides)
        no_more(rest)
        return [chosen]
    if names and names[0] == AD_HOC:
        chosen, rest = choose(runner, names, overrides)
        if rest:
            raise UsageError(f"{AD_HOC} takes two folders, LOCAL and REMOTE", why=f"there are {len(names) - 1}")
        return [chosen]
    if overrides.name is not None:
        raise UsageError("--name is for an ad hoc folder", attempt="trueup sync folder LOCAL REMOTE --name NAME")
    if not names and not runner.engine.targets:
        raise UsageError(
            "there is nothing to do",
            why="no target is configured, here or in a folder above",
            attempt="trueup init, or trueup sync folder LOCAL REMOTE",
        )
    return [_configured(runner, name, overrides) for name in dict.fromkeys(names) or runner.engine.targets]


def choose(
    runner: Runner,
    words: Sequence[str],
    overrides: Overrides = Overrides(),
) -> tuple[Chosen, tuple[str, ...]]:
    """The target that the first words name, and the words behind.

    Without words the only target that is configured is meant.

    Raises:
        UsageError: If it cannot be told which one is meant.
    """
    if words and words[0] == AD_HOC:
        if len(words) < 3:
            raise UsageError(f"{AD_HOC} takes two folders, LOCAL and REMOTE", why=f"there are {len(words) - 1}")
        return _ad_hoc(words[1], words[2], overrides, runner.engine.targets), tuple(words[3:])
    if words and words[0] == DATASET:
        if len(words) < 3:
            raise UsageError(f"{DATASET} takes ACTOR_ID and ACTOR_NAME", why=f"there are {len(words) - 1}")
        spec = runner.engine.dataset(words[1], words[2])
        return Chosen(overrides.applied(spec), Words(dataset_words(spec), overrides.flags())), tuple(words[3:])
    if words:
        return _configured(runner, words[0], overrides), tuple(words[1:])
    names = list(runner.engine.targets)
    if len(names) != 1:
        why = f"there are {', '.join(names)}" if names else "none is configured, here or in a folder above"
        raise UsageError("which target?", why=why, attempt="the same command with NAME, or with folder LOCAL REMOTE")
    return _configured(runner, names[0], overrides), ()


def dataset_words(spec: Datasets) -> str:
    """How an actor is typed."""
    return f"{DATASET} {quote(spec.actor_id)} {quote(spec.actor_name)}"


def _configured(runner: Runner, name: str, overrides: Overrides) -> Chosen:
    spec = runner.engine.find(name) if name in runner.engine.targets or name not in BY_KIND else BY_KIND[name](runner)
    return Chosen(overrides.applied(spec), Words(quote(name), overrides.flags()))


def _only(runner: Runner, kind: type[Policies | Environments]) -> Spec:
    """The configured target of a kind of which there is one by default too."""
    found = [spec for spec in runner.engine.targets.values() if isinstance(spec, kind)]
    return found[0] if len(found) == 1 else kind()


BY_KIND: Mapping[str, Callable[[Runner], Spec]] = {
    policies.KIND: functools.partial(_only, kind=Policies),
    environments.KIND: functools.partial(_only, kind=Environments),
    models.KIND: lambda _: Models(accounts=None),
}
"""Words that mean a target whether or not one is configured."""


def folders_of(chosen: Chosen) -> Folders:
    """The target, if it is a pair of folders.

    Raises:
        UsageError: If it is of another kind.
    """
    if isinstance(chosen.spec, Folders):
        return chosen.spec
    raise UsageError(
        f"{chosen.spec.name} is no pair of folders",
        why="its sides are not compared file by file",
        attempt=f"trueup plan {chosen.words.target} -v",
    )


def _ad_hoc(local: str, remote: str, overrides: Overrides, taken: Collection[str]) -> Chosen:
    here, place = _typed(local), _typed(remote)
    name = overrides.name or Path(here).name or AD_HOC
    if name in taken:
        # The engine finds the target of an old plan by its name: two must not share one.
        if overrides.name is not None:
            raise UsageError(f"a target called {name} is configured", attempt="another --name")
        name = f"{name}-folder"
    spec = Folders(name, (here,), place, selection=Selection())
    return Chosen(overrides.applied(spec), Words(f"{AD_HOC} {quote(local)} {quote(remote)}", overrides.flags()))


def _typed(place: str) -> str:
    """A URL as it is, a path made absolute."""
    if "://" in place:
        return place
    scheme, colon, rest = place.partition(":")
    if colon and scheme.lower() in schemes() and not os.path.lexists(place):
        url = f"{scheme.lower()}://{rest.lstrip('/')}"
        raise UsageError(
            f"{place} is no URL", why="nor is there such a path", attempt=f"{url}, or ./{place} for a path"
        )
    return os.path.abspath(place)  # noqa: PTH100 - links stay as they are typed


def no_more(rest: Iterable[str]) -> None:
    """Refuse words that the command has no use for.

    Raises:
        UsageError: If there are any.
    """
    if rest := list(rest):
        raise UsageError(f"unexpected: {' '.join(rest)}")
