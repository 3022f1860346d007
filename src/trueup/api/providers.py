"""Which providers can be asked what models there are: those that are configured, or whose credentials are found."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from difflib import get_close_matches

from trueup.config import Config
from trueup.config.sections import ProviderSettings
from trueup.core.errors import ConfigError, UsageError
from trueup.stores.http.accounts import PRODUCTION, Configured, Skipped, account
from trueup.stores.http.client import Account
from trueup.stores.http.spec import Provider, known, openai_shaped

FRESH_SECONDS = 12 * 3600.0


class Providers:
    """The providers that there are.

    Args:
        config: Where settings of providers stand.
        env: The environment, where credentials are looked for.
    """

    def __init__(self, config: Config, env: Mapping[str, str]) -> None:
        self._config = config
        self._env = env

    @property
    def all(self) -> dict[str, Provider]:
        """All that can be asked for by name: those that come with trueup, and those of the configuration."""
        found = dict(known())
        for name, settings in self._config.providers.items():
            if name not in found:
                found[name] = openai_shaped(name, settings.base_url.url if settings.base_url else "")
        return found

    def described(self, provider: str) -> Provider:
        """The description of a provider; one that is recorded, and configured no more, answered as OpenAI does."""
        return self.all.get(provider) or openai_shaped(provider, "")

    def fresh_seconds(self, provider: str) -> float:
        """For how long a list of the provider counts as fresh."""
        settings = self._config.providers.get(provider)
        return FRESH_SECONDS if settings is None else settings.fresh

    def named(self, names: Collection[str]) -> list[Provider]:
        """The providers of these names; none: all.

        Raises:
            UsageError: If a name is unknown; with the known ones and the nearest.
        """
        providers = self.all
        for name in names:
            if name not in providers:
                near = get_close_matches(name, providers, n=1)
                hint = f"did you mean {near[0]}? " if near else ""
                raise UsageError(f"there is no provider {name}", why=f"{hint}known: {', '.join(providers)}")
        return [provider for name, provider in providers.items() if not names or name in names]

    def accounts(self, names: Collection[str]) -> tuple[list[Account], list[Skipped]]:
        """The accounts that can be asked, and the providers that cannot. May run commands that fetch secrets.

        Raises:
            ConfigError: If a secret cannot be had, or would go where a file says that nobody has approved.
        """
        found: list[Account] = []
        skipped: list[Skipped] = []
        production = self._env.get("TRUEUP_ENV") == PRODUCTION
        for provider in self.named(names):
            settings = self._config.providers.get(provider.name, ProviderSettings())
            key, address = settings.api_key, settings.base_url
            configured = Configured(
                address.url if address else "",
                None if key is None else key.reveal,
                settings.organization or "",
                provider.name in self._config.providers,
            )
            asked = provider.name in names
            one = account(provider, configured, self._env, asked=asked, production=production)
            if isinstance(one, Skipped):
                skipped.append(one)
                continue
            if (one.key or one.credential) and address is not None and not address.place.trusted():
                raise ConfigError(
                    f"{address.place.file} may not say where the key of {provider.name} is sent",
                    why="nobody has approved it as it is now: read it first",
                    attempt=f"trueup trust {shlex.quote(str(address.place.file))}",
                )
            found.append(one)
        return found, skipped
