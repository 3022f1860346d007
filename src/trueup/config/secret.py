"""Secrets: named in the configuration, fetched when they are needed, never shown."""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trueup.config.trust import is_trusted
from trueup.core.errors import ConfigError

COMMAND_SECONDS = 60
"""Long enough for a person to unlock a password store."""

SECRET_BYTES = 64 * 1024
"""No key is longer; a device or a pipe that goes on for ever is given up here."""

HIDDEN = "***"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands, as far as its meaning depends on that."""

    folder: Path
    """Relative paths begin here."""
    env: Mapping[str, str]
    state_dir: Path
    file: Path | None = None
    digest: str = ""
    """SHA-256 of the bytes that the file held when it was read."""
    own: bool = True
    """Whether only the user or the administrator can have written it, so that it needs no approval."""

    def trusted(self) -> bool:
        """Whether what stands here may run commands and have secrets."""
        return self.own or (self.file is not None and is_trusted(self.file, self.state_dir, digest=self.digest))


class Secret:
    """A value that is never written down: only how to get it.

    It is fetched anew by each `reveal` and not kept, so no dump, pickle or traceback can hold it.
    """

    __slots__ = ("_how", "_place", "_what")

    def __init__(self, how: str, what: str | tuple[str, ...], place: Place) -> None:
        self._how = how
        self._what = what
        self._place = place

    def reveal(self) -> str:
        """The secret itself.

        Raises:
            ConfigError: If it cannot be had, or the file that asks for it has not been approved.
        """
        if not self._place.trusted():
            # Not only commands: a stranger's file can name any secret, and an endpoint of its own to send it to.
            raise ConfigError(
                f"{self._place.file} may not {'run commands' if self._how == 'command' else 'have secrets'}",
                why="nobody has approved it as it is now: read it first",
                attempt=f"trueup trust {shlex.quote(str(self._place.file))}",
            )
        value = _WAYS[self._how](self._what, self._place)
        if not value:
            raise ConfigError(f"the secret from {self} is empty")
        return value

    def plain(self) -> dict[str, str]:
        """How it is got, as far as that may be shown: a command may hold a secret itself."""
        return {self._how: HIDDEN if self._how == "command" or not isinstance(self._what, str) else self._what}

    def __repr__(self) -> str:
        how, what = next(iter(self.plain().items()))
        return f"{{ {how} = {what} }}"

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class Approved:
    """Something that only an approved file may say: code to run, pages to ask for, processes to signal."""

    said: tuple[str, ...]
    place: Place

    def reveal(self) -> tuple[str, ...]:
        """What is said.

        Raises:
            ConfigError: If the file that says so has not been approved.
        """
        if not self.place.trusted():
            raise ConfigError(
                f"{self.place.file} may not run code, ask for pages, nor signal processes",
                why="nobody has approved it as it is now: read it first",
                attempt=f"trueup trust {shlex.quote(str(self.place.file))}",
            )
        return self.said


def _from_env(what: Any, place: Place) -> str:
    if what not in place.env:
        raise ConfigError(f"the environment variable {what} is not set", attempt=f"export {what}=...")
    return place.env[what]


def _from_file(what: Any, place: Place) -> str:
    path = absolute(what, place)
    try:
        with path.open("rb") as file:
            content = file.read(SECRET_BYTES + 1)
        if len(content) > SECRET_BYTES:
            raise ConfigError(f"the secret in {path} cannot be read", why=f"it is larger than {SECRET_BYTES} bytes")
        return content.decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"the secret in {path} cannot be read", why=reason or "") from error


def _from_command(what: Any, place: Place) -> str:
    """Its output. Errors name the program only: arguments and output may be secret."""
    import subprocess

    try:
        done = subprocess.run(  # noqa: S603 - it was approved, and no shell reads it
            what, cwd=place.folder, env=dict(place.env), stdout=subprocess.PIPE, timeout=COMMAND_SECONDS, check=True
        )
        return done.stdout.decode().rstrip("\r\n")
    except OSError as error:
        raise ConfigError(f"{what[0]} cannot be run for a secret", why=error.strerror or "") from error
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{what[0]} gave no secret within {COMMAND_SECONDS} seconds") from None
    except subprocess.CalledProcessError as error:
        raise ConfigError(f"{what[0]} gave no secret", why=f"exit status {error.returncode}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{what[0]} gave no secret", why="its output is not UTF-8") from None


def _from_keyring(what: Any, _: Place) -> str:
    service, _, user = what.partition("/")
    try:
        keyring, errors = importlib.import_module("keyring"), importlib.import_module("keyring.errors")
    except ImportError as error:
        raise ConfigError(
            "no keyring can be asked", why="it is not installed", attempt="pip install keyring"
        ) from error
    try:
        value = keyring.get_password(service, user)
    except errors.KeyringError as error:
        raise ConfigError(f"the keyring does not answer for {what}", why=str(error)) from error
    if value is None:
        raise ConfigError(f"the keyring holds nothing for {what}", attempt=f"keyring set {service} {user}")
    return str(value)


_WAYS: dict[str, Callable[[Any, Place], str]] = {
    "env": _from_env,
    "file": _from_file,
    "command": _from_command,
    "keyring": _from_keyring,
}

WAYS = tuple(_WAYS)
"""The keys of a secret's table."""


def absolute(text: str, place: Place) -> Path:
    """A path as a file or a flag names it: ``~`` is the home folder, and relative ones begin at the place.

    Raises:
        ValueError: If it begins with a ``~user`` that there is not.
    """
    home = place.env.get("HOME")
    if home and (text == "~" or text.startswith("~/")):
        return Path(home + text[1:])
    try:
        return place.folder / Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError(f"there is no such user: {text}") from error
