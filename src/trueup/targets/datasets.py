"""Datasets of actors: what a manifest records, against the local files and a remote copy.

The manifest is the ancestor: it says what both copies last agreed on. The last copy of anything is never deleted.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from urllib.parse import quote

from trueup.core.check import Limits
from trueup.core.errors import UsageError
from trueup.core.model import LOCAL, REMOTE, Entry, Key, Record, Recorded, Shown, Side
from trueup.core.plan import Target
from trueup.core.strategy import Conflict
from trueup.core.table import Act, Rule, Standing, Table, Verb

KIND = "dataset"
MANIFEST = Side("manifest")
CONTENT = (LOCAL, REMOTE)

ACTOR_ID, ACTOR_NAME = "{actor_id}", "{actor_name}"
"""What stands for the actor in a template."""

_PLACEHOLDER = re.compile(r"\{(actor_id|actor_name)\}")
_HEXADECIMAL = re.compile(r"[0-9a-f]+")
_LONGEST = 200
"""Bytes of an id or a name: they become names of folders."""


@dataclass(frozen=True, slots=True)
class Datasets:
    """One target of kind ``dataset``: one actor."""

    name: str
    actor_id: str
    actor_name: str
    manifest: str
    """Path of the manifest."""
    local: str
    """Folder of the files."""
    remote: str
    """The other copy, any store's URL."""
    conflict: Conflict = Conflict.MANUAL
    delete_orphans: bool = False
    """Whether what the manifest does not name goes to the trash, instead of into the manifest."""
    limits: Limits = field(default_factory=Limits)
    folder: str = ""
    """Paths below it are recorded relative to it."""

    def target(self, locations: Mapping[Side, str]) -> Target:
        """The identity of this target: which manifest, and which copies."""
        canonical = "\0".join((KIND, *(locations[side] for side in (MANIFEST, *CONTENT))))
        identity = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return Target(identity, self.name, KIND, dict(locations))


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the manifests and copies of all actors are: paths with `ACTOR_ID` and `ACTOR_NAME` in them."""

    local: str
    remote: str
    manifest: str
    conflict: Conflict = Conflict.MANUAL
    limits: Limits = field(default_factory=Limits)
    folder: str = ""

    def actor(self, actor_id: str, actor_name: str, *, name: str = "", delete_orphans: bool = False) -> Datasets:
        """The dataset of one actor.

        Raises:
            UsageError: If the id or the name cannot be a part of a path.
        """
        for what, text in (("id", actor_id), ("name", actor_name)):
            if why := unsafe(text):
                raise UsageError(f"{text!r} cannot be the {what} of an actor", why=why)
        return Datasets(
            name or actor_name,
            actor_id,
            actor_name,
            filled(self.manifest, actor_id, actor_name),
            filled(self.local, actor_id, actor_name),
            filled(self.remote, actor_id, actor_name),
            conflict=self.conflict,
            delete_orphans=delete_orphans,
            limits=self.limits,
            folder=self.folder,
        )


def filled(template: str, actor_id: str, actor_name: str) -> str:
    """The place that a template means for one actor."""
    encoded = template.lower().startswith("file://")
    texts = {"actor_id": actor_id, "actor_name": actor_name}
    return _PLACEHOLDER.sub(lambda found: quote(texts[found[1]]) if encoded else texts[found[1]], template)


def unsafe(text: str) -> str:
    """Why an id or a name must not become a part of a path; empty if it may."""
    refused = {
        "it is empty": not text,
        "it holds a slash": set(text) & set("/\\"),
        "it holds ? or #, which mean something else in a URL": set(text) & set("?#"),
        "it begins with a dot or a hyphen": text.startswith((".", "-")),
        "it holds control characters": any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in text),
        "it is not UTF-8": any("\ud800" <= letter <= "\udfff" for letter in text),
        f"it is longer than {_LONGEST} bytes": len(text.encode("utf-8", "replace")) > _LONGEST,
    }
    return next((why for why, wrong in refused.items() if wrong), "")


def fits(actor_id: str, actor_name: str) -> bool:
    """Whether the name is the id's, by its look: it is the id, or begins with it and an underscore."""
    return actor_name == actor_id or actor_name.startswith(f"{actor_id}_")


# -- the table -----------------------------------------------------------------------------------------------------

_UP, _DOWN = Act(Verb.PUT, REMOTE, LOCAL), Act(Verb.PUT, LOCAL, REMOTE)
_DELETES = {LOCAL: Act(Verb.DELETE, LOCAL), REMOTE: Act(Verb.DELETE, REMOTE)}


def _add(source: Side) -> Act:
    return Act(Verb.RECORD_ADD, MANIFEST, source)


def _update(source: Side) -> Act:
    return Act(Verb.RECORD_CHANGE, MANIFEST, source)


def table(*, conflict: Conflict = Conflict.MANUAL, delete_orphans: bool = False) -> Table:
    """What is to be done for each thing that manifest, local folder and remote can hold, in this order.

    Args:
        conflict: Who wins where both copies differ and neither is as recorded. Strategies that no table can hold
            leave the item to a person: NEWEST_WINS asks for the table of the winner, item by item.
        delete_orphans: Whether what the manifest does not name goes to the trash.
    """
    rules = {
        "aaa": Rule("agree"),
        "aa-": Rule("remote_missing", (_UP,), why="recorded and on local, not on remote"),
        "ab-": Rule("local_changed", (_UP, _update(LOCAL)), why="changed on local, not on remote"),
        "a-a": Rule("local_missing", (_DOWN,), why="recorded and on remote, not on local"),
        "a-b": Rule("remote_changed", (_DOWN, _update(REMOTE)), why="changed on remote, not on local"),
        "aba": Rule("local_changed", (_UP, _update(LOCAL)), why="changed on local"),
        "aab": Rule("remote_changed", (_DOWN, _update(REMOTE)), why="changed on remote"),
        "abb": Rule("outdated", (_update(LOCAL),), why="the same on both sides, recorded otherwise"),
        "abc": _conflict(conflict, _update, "local and remote differ, and neither is as recorded"),
        "a--": Rule(
            "missing", (Act(Verb.RECORD_REMOVE, MANIFEST),), why="recorded, and neither on local nor on remote"
        ),
    }
    if delete_orphans:
        return Table((MANIFEST, *CONTENT), rules | _ORPHANS)
    untracked = {
        "-a-": Rule("untracked", (_UP, _add(LOCAL)), why="only on local, not recorded"),
        "--a": Rule("untracked", (_DOWN, _add(REMOTE)), why="only on remote, not recorded"),
        "-aa": Rule("untracked", (_add(LOCAL),), why="on both sides, not recorded"),
        "-ab": _conflict(conflict, _add, "different on local and remote, and not recorded"),
    }
    return Table((MANIFEST, *CONTENT), rules | untracked)


_ORPHANS = {
    spelled: Rule("orphan", tuple(_DELETES[side] for side in sides), why="not recorded: to the trash")
    for spelled, sides in {"-a-": (LOCAL,), "--a": (REMOTE,), "-aa": CONTENT, "-ab": CONTENT}.items()
}


def _conflict(strategy: Conflict, record: Callable[[Side], Act], why: str) -> Rule:
    if strategy is Conflict.LOCAL_WINS:
        return Rule("local_wins", (_UP, record(LOCAL)), why=f"{why}: local wins")
    if strategy is Conflict.REMOTE_WINS:
        return Rule("remote_wins", (_DOWN, record(REMOTE)), why=f"{why}: remote wins")
    return Rule("conflict", standing=Standing.CONFLICT, why=f"{why}: which one holds?")


# -- what is compared ----------------------------------------------------------------------------------------------

Evidence = Mapping[str, str]
"""What is known about content, by algorithm: ``md5`` and ``blake3`` in hexadecimal, ``etag`` as the service says it.
Equal values of one algorithm prove equal content; unequal ETags prove nothing."""


def same(one: Evidence, other: Evidence) -> bool | None:
    """Whether two contents are equal; None if that cannot be told."""
    for algorithm in ("blake3", "md5"):
        if algorithm in one and algorithm in other:
            return one[algorithm] == other[algorithm]
    if "etag" in one and one.get("etag") == other.get("etag"):
        return True
    # An ETag that is the MD5 of what the other side holds is no accident.
    if one.get("etag", 1) == other.get("md5", 2) or other.get("etag", 1) == one.get("md5", 2):
        return True
    return None


def identities(evidence: Mapping[Side, Evidence]) -> dict[Side, Side]:
    """Which sides hold the same: each is told the first one that holds what it holds. Copies first, then the record."""
    found: dict[Side, Side] = {}
    for side in (*CONTENT, MANIFEST):
        if side in evidence:
            alike = (first for first in found.values() if same(evidence[side], evidence[first]))
            found[side] = next(alike, side)
    return found


def told_by_record(fields: Mapping[str, object]) -> Evidence:
    """What an entry of a manifest says about content."""
    found: dict[str, str] = {}
    etag = str(fields.get("etag") or "").removeprefix("W/").strip('"').lower()
    md5 = str(fields.get("md5_hash") or fields.get("md5") or "").lower()
    blake3 = str(fields.get("blake3_hash") or "").lower()
    if etag:
        found["etag"] = etag
    if is_digest(md5, 32) or is_digest(etag, 32):
        found["md5"] = md5 if is_digest(md5, 32) else etag
    if is_digest(blake3, 64):
        found["blake3"] = blake3
    return found


def is_digest(text: str, length: int) -> bool:
    """Whether it has the form of a digest of so many hexadecimal digits."""
    return len(text) == length and _HEXADECIMAL.fullmatch(text) is not None


def size_of(fields: Mapping[str, object]) -> int | None:
    """Bytes, as an entry says; None if it does not."""
    size = fields.get("size_bytes", fields.get("size"))
    return size if type(size) is int else None


def modified_of(fields: Mapping[str, object]) -> float | None:
    """Seconds since the epoch, as an entry says; None if it does not."""
    told = fields.get("modified_timestamp", fields.get("last_modified"))
    if isinstance(told, str):
        try:
            time = datetime.fromisoformat(told)
        except ValueError:
            return None
        return time.replace(tzinfo=time.tzinfo or UTC).timestamp()
    return float(told) if isinstance(told, int | float) and not isinstance(told, bool) else None


# -- what is recorded ----------------------------------------------------------------------------------------------


def entry_of(
    spec: Datasets, key: Key, seen: Mapping[Side, Shown], source: Side, evidence: Evidence, *, listed: bool
) -> Record:
    """The manifest's entry for what a side holds. What nobody here knows of an old entry stays.

    Args:
        spec: The actor.
        key: The item.
        seen: What the sides showed.
        source: The side whose content is recorded.
        evidence: What is known about that content.
        listed: Whether the manifest is a list of entries, each with its name.
    """
    content, recorded = seen[source], seen.get(MANIFEST)
    assert isinstance(content, Entry)  # noqa: S101  # the table has seen to it
    old = recorded.record.fields if isinstance(recorded, Recorded) else {}
    fields = dict(_new(spec, key, listed=listed) if not old else {"s3_url": _joined(spec.remote, key)}) | old
    names = _LISTED if listed else _NAMED
    fields[names["size"]] = content.content.size
    told = old.get(names["modified"], None if listed else "")
    seconds = content.modified_ns / 1e9
    fields[names["modified"]] = datetime.fromtimestamp(seconds, UTC).isoformat() if isinstance(told, str) else seconds
    digests = {"blake3_hash": "blake3", names["md5"]: "md5"} | dict.fromkeys(_MD5 & old.keys(), "md5")
    for name, algorithm in digests.items():
        fields.pop(name, None)  # of other content
        if algorithm in evidence:
            fields[name] = evidence[algorithm]
    return Record.of(fields)


_LISTED = {"size": "size_bytes", "modified": "modified_timestamp", "md5": "md5_hash"}
_MD5 = {"md5_hash", "md5", "etag"}
_NAMED = {"size": "size", "modified": "last_modified", "md5": "etag"}


def _new(spec: Datasets, key: Key, *, listed: bool) -> Mapping[str, object]:
    url = _joined(spec.remote, key)
    if not listed:
        return {"s3_url": url, "s3_key": url.partition("://")[2].partition("/")[2]}
    local = PurePosixPath(spec.local)
    if spec.folder and local.is_relative_to(spec.folder):
        local = local.relative_to(spec.folder)
    return {"filename": key, "local_path": str(local / key), "s3_url": url, "status": "synced"}


def _joined(place: str, key: Key) -> str:
    return f"{place.rstrip('/')}/{key}"
