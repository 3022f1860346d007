"""An actor's dataset: a manifest, local files, and a remote that may be a folder or a bucket."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trueup.targets.datasets import Datasets, Layout

ID, NAME = "0042", "0042_european_30_male"
YEAR_SECONDS = 365 * 24 * 3600

WORDS = ("aaa", "aa-", "ab-", "a-a", "a-b", "aba", "aab", "abb", "abc", "a--", "-a-", "--a", "-aa", "-ab")
"""What manifest, local and remote can hold of one image, as the table of the kind spells it."""


@dataclass
class Actor:
    """One actor below a folder; the remote is a folder, too."""

    root: Path
    layout: Layout = field(init=False)

    def __post_init__(self) -> None:
        for path in (self.local, self.remote, self.manifest.parent):
            path.mkdir(parents=True, exist_ok=True)
        self.layout = Layout(
            str(self.root / "data/actors/{actor_name}/training_data"),
            str(self.root / "remote/{actor_name}"),
            str(self.root / "data/actor_manifests/{actor_id}_manifest.json"),
            folder=str(self.root),
        )

    @property
    def local(self) -> Path:
        return self.root / "data/actors" / NAME / "training_data"

    @property
    def remote(self) -> Path:
        return self.root / "remote" / NAME

    @property
    def manifest(self) -> Path:
        return self.root / "data/actor_manifests" / f"{ID}_manifest.json"

    @property
    def spec(self) -> Datasets:
        return self.layout.actor(ID, NAME)

    @property
    def orphaning(self) -> Datasets:
        return self.layout.actor(ID, NAME, delete_orphans=True)

    def configure(self) -> None:
        """The same for the command line."""
        lines = [f"{name} = {json.dumps(getattr(self.layout, name))}" for name in ("local", "remote", "manifest")]
        (self.root / "trueup.toml").write_text("\n".join(["[datasets]", *lines, ""]))

    def put(self, side: Path, name: str, text: str, *, age_seconds: float = YEAR_SECONDS) -> None:
        """Write a file that looks as if it had been there for a while."""
        path = side / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        then = time.time() - age_seconds
        os.utime(path, (then, then))

    def record(self, entries: Mapping[str, str]) -> None:
        """Write a manifest that records these contents."""
        data = [
            {"filename": name, "size_bytes": len(text.encode()), "md5_hash": md5(text)}
            for name, text in entries.items()
        ]
        self.manifest.write_text(json.dumps({"actor_id": ID, "actor_name": NAME, "training_data": data}))

    def spell(self, words: Mapping[str, str]) -> None:
        """Make each image stand as its word says."""
        recorded = {}
        for name, word in words.items():
            if word[0] != "-":
                recorded[name] = f"{name} {word[0]}"
            for letter, side in zip(word[1:], (self.local, self.remote), strict=True):
                if letter != "-":
                    self.put(side, name, f"{name} {letter}")
        self.record(recorded)

    def recorded(self) -> dict[str, Any]:
        """The manifest's entries by name."""
        if not self.manifest.exists():
            return {}
        return {entry["filename"]: entry for entry in json.loads(self.manifest.read_text())["training_data"]}


def files(side: Path) -> dict[str, str]:
    """What a folder holds, our own traces apart."""
    return {
        str(path.relative_to(side)): path.read_text()
        for path in sorted(side.rglob("*"))
        if path.is_file() and ".trueup" not in path.parts
    }


def trashed(side: Path) -> list[str]:
    """Contents in a folder's trash."""
    return [path.read_text() for path in (side / ".trueup/trash").rglob("*") if path.is_file()]


def md5(text: str) -> str:
    """As manifests and buckets tell it."""
    return hashlib.md5(text.encode()).hexdigest()  # noqa: S324  # the document says MD5
