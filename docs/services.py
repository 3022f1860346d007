"""Ask services what they can refuse, by the store's own probe, and keep the answers in ``docs/object-stores.md``.

Servers are started on loopback, each with a throw-away folder; one that is not installed is left out, and what the page
says of it stays. Nothing is asked of services elsewhere: what those can do is found out by the first run that writes.

Usage: ``python docs/services.py [--write]``; without ``--write`` the exit code is 1 if the page says something else.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.azurite import ACCOUNT, CONTAINER, KEY, azurite, azurite_program  # only now can it be found

from trueup.core.model import Key, Token
from trueup.core.table import Verb
from trueup.engine.ambient import SystemClock, random_name
from trueup.engine.threads import ThreadPool
from trueup.protocols import Access, Source
from trueup.stores.object import ObjectStore
from trueup.stores.object.bucket import Bucket
from trueup.stores.object.connect import connect
from trueup.stores.object.probe import Prober
from trueup.testing.engines import KEYS, Missing, RcloneS3, S3Server, WeedMini, find

PAGE = Path(__file__).resolve().parent / "object-stores.md"

Column = dict[str, str]
"""The words for each line of the table."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service that can be started here."""

    name: str
    started: Callable[[Path], AbstractContextManager[tuple[str, Access]]]
    """Starts it in a folder; a URL below which everything may be written, and how to get there."""
    version: Callable[[], str]

    def asked(self) -> Column:
        """What it can do.

        Raises:
            Missing: If it is not installed.
        """
        with tempfile.TemporaryDirectory(prefix="trueup-services-") as folder, self.started(Path(folder)) as (url, how):
            return {"version": self.version()} | _asked(url, how)


@contextmanager
def _s3(server: S3Server) -> Iterator[tuple[str, Access]]:
    with server:
        yield "s3://test/probed", _access("s3://test", server.endpoint, KEYS.access_key, KEYS.secret_key)


@contextmanager
def _azure(folder: Path) -> Iterator[tuple[str, Access]]:
    with azurite(folder) as endpoint:
        yield f"az://{CONTAINER}/probed", _access(f"az://{CONTAINER}", endpoint, ACCOUNT, KEY)


def _access(url: str, endpoint: str, access_key: str, secret_key: str) -> Access:
    return Access(url, endpoint, None, lambda: access_key, lambda: secret_key)


def _said(program: str | Path, *arguments: str) -> str:
    """The version number in what a program prints."""
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=True)  # noqa: S603  # ours
    match = re.search(r"\d+\.\d+(?:\.\d+)?", re.sub(r"\d+GB", "", done.stdout))
    return match[0] if match else "?"


SERVICES = (
    Service(
        "SeaweedFS",
        lambda folder: _s3(WeedMini(folder)),
        lambda: _said(find(WeedMini.program, WeedMini.origin), "version"),
    ),
    Service(
        "rclone serve s3",
        lambda folder: _s3(RcloneS3(folder)),
        lambda: _said(find(RcloneS3.program, RcloneS3.origin), "version"),
    ),
    Service("Azurite", _azure, lambda: _said(azurite_program(), "--version")),
)


def _asked(url: str, access: Access) -> Column:
    place = connect(url, (access,), {})
    remember: dict[str, str] = {}
    found = Prober(Bucket(place), random_name, SystemClock(), remember).for_parts()
    store = ObjectStore(place, clock=SystemClock(), threads=ThreadPool(), unique=random_name, remember=remember)
    properties = store.properties
    alike = {
        "`A` and `a`": found.folds_case,
        "`é` in one or two code points": found.folds_unicode,
        "`\\` and `/`": not found.backslashes,
    }
    return {
        "refuses to create what is there": _yes(found.create),
        "refuses to replace another version": _yes(found.replace),
        "refuses to delete another version": _yes(found.delete),
        "refuses to put a large object over another version": _yes(found.parts),
        "refuses to read another version": _yes(found.read),
        "keeps metadata: times, permission bits": _yes(found.metadata),
        "names a version by the MD5 of its bytes": _yes(found.md5),
        "pairs that it takes for one name": ", ".join(names for names, same in alike.items() if same) or "none",
        "renames without payload": asyncio.run(_renamed(store)),
        "refuses every write that comes late": f"**{_yes(properties.refuses_lost_races)}**",
    }


async def _renamed(store: ObjectStore) -> str:
    """Whether it does, tried out; and what that takes no heed of."""
    if Verb.MOVE not in store.properties.verbs:
        return "no"
    before, after = Key("a"), Key("b")

    @contextmanager
    def opened() -> Iterator[Iterator[bytes]]:
        yield iter([b"x"])

    put = await store.write(before, Source(opened, 1), expect=None, trash=None)
    await store.move(before, after, expect=put.token or Token(""))
    done = await store.stat(before) is None and await store.stat(after) is not None
    return _yes(done) + ("; the new name is not guarded" if done and store.properties.about_moves else "")


def _yes(able: bool | None) -> str:
    return {True: "yes", False: "no", None: "unknown"}[able]


_REGION = re.compile(r"(<!-- probed by docs/services\.py -->\n).*?(<!-- end -->)", re.DOTALL)


def written(page: str) -> dict[str, dict[str, str]]:
    """The table of a page: for each service its column."""
    region = _REGION.search(page)
    if region is None:
        raise ValueError(f"{PAGE.name} has no place for the table")
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in region[0].splitlines() if row[:1] == "|"]
    names = rows[0][1:] if rows else []
    return {name: {row[0]: row[n] for row in rows[2:]} for n, name in enumerate(names, 1)}


def table(columns: Mapping[str, Column]) -> str:
    """The columns as Markdown."""
    lines: Sequence[str] = list(dict.fromkeys(line for column in columns.values() for line in column))
    rows = [["", *columns], ["---"] * (len(columns) + 1)]
    rows += [[line, *(column.get(line, "unknown") for column in columns.values())] for line in lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main() -> int:
    """Compare the page with what is said now, or write it."""
    parser = argparse.ArgumentParser(description="Ask services what they can refuse.")
    parser.add_argument("--write", action="store_true", help="write the table")
    arguments = parser.parse_args()
    page = PAGE.read_text("utf-8")
    before = written(page)
    columns: dict[str, Column] = {}
    for service in SERVICES:
        try:
            columns[service.name] = service.asked()
        except Missing as error:
            print(f"{service.name} is left out: {error}", file=sys.stderr)
            if service.name in before:
                columns[service.name] = before[service.name]
    if arguments.write:
        PAGE.write_text(_REGION.sub(lambda match: match[1] + table(columns) + match[2], page), "utf-8")
    elif columns != before:
        print(f"{PAGE.name} is out of date. Try: python docs/services.py --write")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
