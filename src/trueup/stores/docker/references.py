"""Names of images, in full: what ``bb``, ``bb:latest`` and ``docker.io/library/bb`` have in common.

Source: https://github.com/distribution/reference, reference.go (the grammar) and normalize.go (the defaults).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_NAME_LETTERS = 255
_COMPONENT = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
_ID = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Reference:
    """What a name of an image says."""

    name: str
    """Domain and path, in full; empty if it is an image's id."""
    tag: str | None
    digest: str | None
    """Of the manifest; of an image's id: the id."""
    given: str
    """Domain and path as they were written."""

    @property
    def tagged(self) -> str | None:
        """The full name with the tag."""
        return None if self.tag is None else f"{self.name}:{self.tag}"

    @property
    def pinned(self) -> str | None:
        """The full name with the digest."""
        return None if self.digest is None else f"{self.name}@{self.digest}"

    @property
    def asked(self) -> str:
        """What to ask an engine for: never something that may begin an id, nor a tag together with a digest.

        Asked for both, Docker answers 200 though there is no such tag.
        """
        if not self.name:
            return str(self.digest)
        return f"{self.given}:{self.tag}" if self.tag is not None else f"{self.given}@{self.digest}"

    @property
    def local(self) -> str | None:
        """The full name that Podman gives to an image of this name that it has built; None if a domain was written."""
        return None if self.tag is None or _domain(self.given) else f"localhost/{self.given}:{self.tag}"


def parse(text: str) -> Reference:
    """Take a name apart. Without tag and digest the tag is ``latest``.

    Raises:
        ValueError: If no image can have such a name; says why.
    """
    bare = _ID.fullmatch(text)
    if bare is not None:
        return Reference("", None, f"sha256:{bare[1]}", "")
    rest, at, digest = text.partition("@")
    name, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        name, colon, tag = rest, "", ""
    domain = _domain(name)
    path = name.removeprefix(domain + "/") if domain else name
    if len(name) > MOST_NAME_LETTERS:
        raise ValueError(f"not the name of an image: longer than {MOST_NAME_LETTERS} letters")
    if not (_PATH.fullmatch(path) and (not domain or _DOMAIN.fullmatch(domain))):
        raise ValueError(f"not the name of an image: {text!r}")
    if (colon and not _TAG.fullmatch(tag)) or (at and not _DIGEST.fullmatch(digest)):
        raise ValueError(f"not a tag or digest of an image: {text!r}")
    if domain in ("", "docker.io", "index.docker.io"):
        domain, path = "docker.io", path if "/" in path else f"library/{path}"
    return Reference(f"{domain}/{path}", tag or (None if at else "latest"), digest or None, name)


def _domain(name: str) -> str:
    """What comes before the first slash, if it can be a host's name only; else nothing."""
    first, slash, _ = name.partition("/")
    is_host = slash and (first == "localhost" or any(letter in ".:" or letter.isupper() for letter in first))
    return first if is_host else ""
