"""A page of a ListObjectsV2, taken apart and put together again without losing what we do not know."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import md5
from html import escape, unescape
from typing import Final
from urllib.parse import quote, unquote

from trueup.testing.proxy.rules import Request

_ITEMS = re.compile(r"<(Contents|CommonPrefixes)\b.*?</\1>", re.DOTALL)
_NAME = re.compile(r"<(Key|Prefix)>(.*?)</\1>", re.DOTALL)
_REFERENCE = re.compile(r"&#(?:x([0-9A-Fa-f]+)|([0-9]+));")
_END: Final = "</ListBucketResult>"


@dataclass(slots=True)
class Page:
    """A page of a listing."""

    request: Request
    text: str
    """The document without its items."""
    contents: list[str]
    """Elements, one an object, in the order of the server."""
    prefixes: list[str]
    """Elements, one a common prefix."""
    encoded: bool = field(init=False)
    """Whether names are percent-encoded, as the client wished (``encoding-type=url``)."""

    def __post_init__(self) -> None:
        self.encoded = self.request.query.get("encoding-type") == "url"

    @classmethod
    def parse(cls, request: Request, data: bytes) -> Page | None:
        """Take an answer apart; None if it is no listing."""
        text = data.decode("utf-8", errors="surrogateescape")
        if _END not in text:
            return None
        items = [match[0] for match in _ITEMS.finditer(text)]
        contents = [item for item in items if item.startswith("<Contents")]
        return cls(request, _ITEMS.sub("", text), contents, [item for item in items if item not in contents])

    def encode(self) -> bytes:
        """The answer again, with the count right."""
        self.put("KeyCount", str(len(self.contents) + len(self.prefixes)))
        items = "".join((*self.contents, *self.prefixes))
        return self.text.replace(_END, items + _END).encode("utf-8", errors="surrogateescape")

    def get(self, name: str) -> str:
        """The text of an element of the document; empty if there is none."""
        match = re.search(f"<{name}>(.*?)</{name}>", self.text, re.DOTALL)
        return "" if match is None else unescape(match[1])

    def put(self, name: str, value: str | None) -> None:
        """Set an element of the document; None takes it away."""
        element = "" if value is None else f"<{name}>{escape(value, quote=False)}</{name}>"
        text, found = re.subn(f"<{name}>.*?</{name}>|<{name}/>", lambda _: element, self.text, count=1, flags=re.DOTALL)
        self.text = text if found else text.replace(_END, element + _END)

    @property
    def truncated(self) -> bool:
        """Whether another page follows."""
        return self.get("IsTruncated") == "true"

    def name_of(self, item: str) -> str:
        """The key of an object, or a common prefix, decoded."""
        match = _NAME.search(item)
        text = "" if match is None else _REFERENCE.sub(_character, match[2])
        text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")
        return unquote(text, errors="surrogateescape") if self.encoded else text

    def insert(self, key: str, data: bytes) -> None:
        """Put an object in its place, in byte order of the keys, or the prefix that a delimiter makes of it."""
        delimiter = self.request.query.get("delimiter", "")
        prefix = self.request.query.get("prefix", "")
        head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
        if found:
            name = prefix + head + found
            item = f"<CommonPrefixes><Prefix>{self._written(name)}</Prefix></CommonPrefixes>"
            self._insert(self.prefixes, name, item)
        else:
            self._insert(self.contents, key, self._object(key, data))

    def _insert(self, items: list[str], name: str, item: str) -> None:
        names = [self.name_of(other) for other in items]
        if name not in names:
            after = (n for n, other in enumerate(names) if in_bytes(other) > in_bytes(name))
            items.insert(next(after, len(items)), item)

    def _object(self, key: str, data: bytes) -> str:
        return (
            f"<Contents><Key>{self._written(key)}</Key><LastModified>2024-01-02T03:04:05.000Z</LastModified>"
            f"<ETag>&quot;{etag(data)}&quot;</ETag><Size>{len(data)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        )

    def _written(self, name: str) -> str:
        """A name as the server writes it. Control characters become references as at Amazon, which is no valid XML."""
        if self.encoded:
            return quote(name, safe="/", errors="surrogateescape")
        return re.sub(r"[\x00-\x1f\x7f]", lambda match: f"&#x{ord(match[0]):x};", escape(name, quote=False))


def _character(match: re.Match[str]) -> str:
    return chr(int(match[1], 16) if match[1] else int(match[2]))


def in_bytes(name: str) -> bytes:
    """What names are ordered by."""
    return name.encode("utf-8", errors="surrogateescape")


def etag(data: bytes) -> str:
    """The MD5 of an object in one part."""
    return md5(data, usedforsecurity=False).hexdigest()
