"""What one file says, checked key by key; profiles included, chosen or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trueup.config.document import Document
from trueup.config.forms import Wrong
from trueup.config.problems import Origin, Problem, dotted, nearest, shown, worded
from trueup.config.secret import Place
from trueup.config.settings import (
    ALERT,
    BUCKET,
    FOLDER,
    KINDS,
    NAME,
    NOTIFY,
    PROVIDER,
    RESERVED,
    TABLES,
    Setting,
)

Path = tuple[str, ...]
"""Of a setting, such as ``("targets", "site", "local")``; of a table, two names."""

WRONG = object()
"""Stands for a value that was refused: the key is not missing."""


@dataclass(frozen=True, slots=True)
class Found:
    """A value that is somewhere."""

    value: Any
    origin: Origin


Values = dict[Path, Found]


@dataclass(frozen=True, slots=True)
class Layer:
    """One file: its settings, and those of each of its profiles."""

    base: Values = field(default_factory=dict)
    profiles: dict[str, Values] = field(default_factory=dict)

    def chosen(self, profile: str | None) -> Values:
        """The settings with a profile's on top; a profile that this file does not have changes nothing."""
        return self.base | self.profiles.get(profile or "", {})


class Reader:
    """Reads one document and gathers what is wrong with it."""

    def __init__(self, document: Document, place: Place, problems: list[Problem]) -> None:
        self._document = document
        self._place = place
        self._problems = problems

    def layer(self) -> Layer:
        """Everything that the document says."""
        table = dict(self._document.table)
        profiles = self._table(table.pop("profiles", {}), ("profiles",))
        return Layer(
            self._sections(table, (), "", also="profiles"),
            {
                name: self._sections(self._table(part, ("profiles", name)), ("profiles", name), name)
                for name, part in profiles.items()
                if self._named(("profiles", name))
            },
        )

    def _sections(self, table: Mapping[str, Any], above: Path, profile: str, also: str = "") -> Values:
        """All tables, of the file itself or of a profile."""
        found: Values = {}
        sections: dict[str, Callable[[Path, Any, Path, str], Values]] = {
            "targets": self._target,
            "buckets": self._bucket,
            "providers": self._provider,
            "alerts": self._alert,
            "notify": self._notify,
        }
        for section, content in table.items():
            if section in TABLES:
                found |= self._single(section, content, (*above, section), profile)
                continue
            if section not in sections:
                self._unknown((*above, section), [*sections, *TABLES, also] if also else [*sections, *TABLES])
                continue
            for name, value in self._table(content, (*above, section)).items():
                where = (*above, section, name)
                if self._named(where):
                    found |= sections[section]((section, name), value, where, profile)
        return found

    def _target(self, path: Path, value: Any, where: Path, profile: str) -> Values:
        if path[1] in RESERVED:
            self._problem(where, "is a word of `trueup sync`", "a target cannot be called so")
        table = dict(self._table(value, where))
        kind = table.pop("kind", None)
        found = {path: Found(None, self._document.origin(where, profile=profile))}
        if kind is not None:
            known = isinstance(kind, str) and kind in KINDS
            found[*path, "kind"] = Found(
                kind if known else WRONG, self._document.origin((*where, "kind"), profile=profile)
            )
            if not known:
                self._problem(
                    (*where, "kind"), f"must be one of {', '.join(KINDS)}", f"it is {shown(kind)}: no such kind"
                )
                return found
        every = {name: setting for kind in KINDS.values() for name, setting in kind.items()}
        own = KINDS.get(kind if isinstance(kind, str) else "", FOLDER)  # kinds differ in what shares a name
        settings = {**every, **own}
        return found | self._settings(table, settings, path, where, profile, also="kind")

    def _single(self, section: str, value: Any, where: Path, profile: str) -> Values:
        """A table that there is once: its path is one name, those of its settings are two."""
        found = {(section,): Found(None, self._document.origin(where, profile=profile))}
        return found | self._settings(self._table(value, where), TABLES[section], (section,), where, profile)

    def _bucket(self, path: Path, value: Any, where: Path, profile: str) -> Values:
        table = {"url": value} if isinstance(value, str) else self._table(value, where)
        found = {path: Found(None, self._document.origin(where, profile=profile))}
        return found | self._settings(table, BUCKET, path, where, profile)

    def _provider(self, path: Path, value: Any, where: Path, profile: str) -> Values:
        found = {path: Found(None, self._document.origin(where, profile=profile))}
        return found | self._settings(self._table(value, where), PROVIDER, path, where, profile)

    def _alert(self, path: Path, value: Any, where: Path, profile: str) -> Values:
        found = {path: Found(None, self._document.origin(where, profile=profile))}
        return found | self._settings(self._table(value, where), ALERT, path, where, profile)

    def _notify(self, path: Path, value: Any, where: Path, profile: str) -> Values:
        found = {path: Found(None, self._document.origin(where, profile=profile))}
        return found | self._settings(self._table(value, where), NOTIFY, path, where, profile)

    def _settings(
        self,
        table: Mapping[str, Any],
        settings: Mapping[str, Setting],
        path: Path,
        where: Path,
        profile: str,
        also: str = "",
    ) -> Values:
        found: Values = {}
        for name, value in table.items():
            if name not in settings:
                self._unknown((*where, name), [also, *settings] if also else settings)
                continue
            origin = self._document.origin((*where, name), profile=profile)
            result = read(settings[name], value, self._place, origin, dotted((*where, name)), self._problems)
            found[*path, name] = Found(result, origin)
        return found

    def _table(self, value: Any, where: Path) -> Mapping[str, Any]:
        if isinstance(value, dict):
            return value
        self._problem(where, "must be a table", f"it is {worded(value)}")
        return {}

    def _named(self, where: Path) -> bool:
        if NAME.fullmatch(where[-1]):
            return True
        self._problem(where, "is no name", "names are letters, digits, and _ . - @ after the first")
        return False

    def _unknown(self, where: Path, known: Mapping[str, Any] | list[str]) -> None:
        self._problem(where, "is no setting", nearest(where[-1], known))

    def _problem(self, where: Path, what: str, why: str) -> None:
        self._problems.append(Problem(self._document.origin(where), f"{dotted(where)} {what}", why))


def read(setting: Setting, value: object, place: Place, origin: Origin, name: str, problems: list[Problem]) -> Any:
    """The value of one setting.

    Args:
        setting: Which one.
        value: What TOML yields, or the text of a variable.
        place: Where it stands.
        origin: Where it stands, for messages.
        name: What to call it.
        problems: Receives why it is refused.

    Returns:
        The value, or WRONG.
    """
    try:
        return setting.form.read(value, place)
    except Wrong as error:
        is_what = "" if setting.form.secret else f"it is {shown(value)}"
        why = ": ".join(part for part in (is_what, str(error)) if part)
        problems.append(Problem(origin, f"{name} must be {setting.form.allowed}", why))
        return WRONG
