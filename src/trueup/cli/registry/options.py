"""Which registry, which weights, which container engine: configured, and changed by flags for one command."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import click

from trueup.cli.running import Runner
from trueup.targets.environments import Environments
from trueup.targets.policies import Policies

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Options:
    """What the flags of these commands say."""

    registry: str | None = None
    models_root: str | None = None
    docker_host: str | None = None
    adopt: bool = False

    def policies(self, runner: Runner) -> Policies:
        """The target: the configured one of this kind, if there is just one, with the flags on top."""
        found = [spec for spec in runner.engine.targets.values() if isinstance(spec, Policies)]
        spec = found[0] if len(found) == 1 else Policies()
        return replace(
            spec,
            registry=self.registry or spec.registry,
            root=self.models_root or spec.root,
            docker=self.docker_host or spec.docker,
            adopt=self.adopt or spec.adopt,
        )

    def environments(self, runner: Runner) -> Environments:
        """As `policies`."""
        found = [spec for spec in runner.engine.targets.values() if isinstance(spec, Environments)]
        spec = found[0] if len(found) == 1 else Environments()
        return replace(
            spec,
            registry=self.registry or spec.registry,
            docker=self.docker_host or spec.docker,
            adopt=self.adopt or spec.adopt,
        )

    @property
    def typed(self) -> str:
        """As they are typed, each with a leading blank."""
        pairs = {"--registry": self.registry, "--models-root": self.models_root, "--docker-host": self.docker_host}
        return "".join(f" {flag} {value}" for flag, value in pairs.items() if value)


def gathered(function: F) -> F:
    """Add ``--registry --models-root --docker-host``, given as ``options``, with ``--adopt`` if the command has it."""

    @functools.wraps(function)
    def command(
        *args: Any, registry: str | None, models_root: str | None, docker_host: str | None, **flags: Any
    ) -> Any:
        options = Options(registry, models_root, docker_host, flags.pop("adopt", False))
        return function(*args, options=options, **flags)

    wrapped: Any = command
    for option in (
        click.option("--docker-host", metavar="URL", help="The container engine; else as its own client finds it."),
        click.option("--models-root", metavar="PATH", help="Folder of the weights; else `models` beside the registry."),
        click.option("--registry", metavar="PATH", help="The registry; else ~/.maple/state.db, or trueup's own."),
    ):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return]  # click keeps the shape
