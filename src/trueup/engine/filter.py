"""Which items belong to a target: gitignore patterns, sizes, sensible defaults."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property

from pathspec import GitIgnoreSpec

DEFAULT_EXCLUDES = (
    ".git/",
    ".hg/",
    ".svn/",
    "__pycache__/",
    "*.pyc",
    ".DS_Store",
    "Thumbs.db",
    "*~",
    ".*.sw?",
    "*.tmp",
    "*.partial",
    "*.crdownload",
)
"""Version control, caches and temporary files; ``defaults = false`` takes them in."""

IGNORE_FILE = ".trueupignore"


class PatternFilter:
    """Implements `trueup.protocols.Filter`.

    Args:
        include: Where given, only files that match one of these belong.
        exclude: gitignore patterns; later ones win, ``!`` takes back in.
        min_size: Smaller files are nobody's business; bytes.
        max_size: Larger files are nobody's business; bytes.
    """

    def __init__(
        self,
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        min_size: int | None = None,
        max_size: int | None = None,
    ) -> None:
        self._include = GitIgnoreSpec.from_lines(include) if include else None
        self._patterns = tuple(exclude)
        self._exclude = GitIgnoreSpec.from_lines(exclude)
        self._min_size = min_size or 0
        self._max_size = max_size if max_size is not None else 1 << 63

    @cached_property
    def _plain(self) -> tuple[re.Pattern[str] | None, re.Pattern[str] | None] | None:
        """Patterns without a slash inside as one expression on base names (for files, for directories).

        pathspec tries pattern by pattern on the whole path: ten times the cost of all else in a scan. None if a
        pattern needs it: a path, a negation.
        """
        names = [pattern for pattern in self._patterns if pattern.strip() and not pattern.startswith("#")]
        if any(re.search(r"[/\\!\s]", name[:-1] + name[-1].replace("/", "")) for name in names):
            return None
        both = [translate(name) for name in names if not name.endswith("/")]
        directories = both + [translate(name[:-1]) for name in names if name.endswith("/")]
        return (
            re.compile("|".join(both)) if both else None,
            re.compile("|".join(directories)) if directories else None,
        )

    def excludes(self, path: str, *, directory: bool) -> bool:
        """As `trueup.protocols.Filter.excludes`."""
        plain = self._plain
        if plain is not None:
            expression = plain[directory]
            if expression is not None and expression.match(path.rpartition("/")[2]):
                return True
        elif self._exclude.match_file(path + "/" if directory else path):
            return True
        return self._include is not None and not directory and not self._include.match_file(path)

    def excludes_size(self, size: int) -> bool:
        """As `trueup.protocols.Filter.excludes_size`."""
        return not self._min_size <= size <= self._max_size


@dataclass(frozen=True, slots=True)
class Below:
    """A filter for one root of several: patterns speak of names as the target has them, the root's in front.

    Implements `trueup.protocols.Filter`. Otherwise a pattern with a slash would exclude on one side only.
    """

    root: str
    inner: PatternFilter

    def excludes(self, path: str, *, directory: bool) -> bool:
        """As `trueup.protocols.Filter.excludes`."""
        return self.inner.excludes(f"{self.root}/{path}", directory=directory)

    def excludes_size(self, size: int) -> bool:
        """As `trueup.protocols.Filter.excludes_size`."""
        return self.inner.excludes_size(size)


def read_ignore_file(text: str, *, root: str = "") -> list[str]:
    """The patterns of a ``.trueupignore``; with a root's name, as patterns that speak of that root only."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return [_rooted(line, re.sub(r"([\\*?\[\]!#])", r"\\\1", root)) for line in lines] if root else lines


def _rooted(pattern: str, root: str) -> str:
    """As git reads the pattern in a ``.gitignore`` of that folder."""
    negation = "!" if pattern.startswith("!") else ""
    pattern = pattern.removeprefix("!")
    deep = "" if "/" in pattern.rstrip().removesuffix("/") else "**/"
    return f"{negation}/{root}/{deep}{pattern.removeprefix('/')}"
