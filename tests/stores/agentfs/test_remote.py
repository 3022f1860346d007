"""The remote of an agent keeps the contract of stores, against the reference server."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.agents import opening, served

from trueup.core.model import Key
from trueup.protocols import Store
from trueup.stores.agentfs import Beside, Mirror, RemoteAgent, engine, script, worker
from trueup.stores.agentfs.hrana import Remote
from trueup.stores.agentfs.look import Sort
from trueup.stores.agentfs.names import parts_of
from trueup.stores.agentfs.schema import Statement, beginning
from trueup.testing import StoreContract
from trueup.testing.expect import content, create, look, read

pytestmark = pytest.mark.engine


def without_a_process(asked: engine.Call) -> dict[str, Any]:
    """The worker's own work, in this process: a look costs a tenth. The tests of targets use real workers."""
    return worker._done({"do": asked.do, "path": str(asked.path), "url": asked.url, "seconds": asked.seconds})


class TestRemoteAgent(StoreContract):
    many = 60
    seeds = 2

    @pytest.fixture
    def store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteAgent]:
        monkeypatch.setattr(engine, "call", without_a_process)
        with served(tmp_path / "server" / "team.db") as url:
            self.remote = Remote(url, None, 10.0)

            @contextmanager
            def reach() -> Iterator[tuple[str, str | None]]:
                yield url, None

            mirror = Mirror(tmp_path / "mirror", url, reach, 10.0)
            yield RemoteAgent(mirror, opening(), Beside(tmp_path / "state" / "remote.db"))

    def outside_write(self, key: Key, data: bytes) -> None:
        moment = script.Moment(time.time_ns(), 4096)
        body = script.Body(Sort.FILE, data, None, moment.now_ns)
        where, values = script.place(parts_of(key))
        there = f"ino = {where}"
        begun = beginning(moment.times[0])
        (failure,) = self.remote.transactions([[*begun, *script.create(parts_of(key), body, moment)]])
        if failure is None:
            return
        (ino,) = [self.remote.value(f"SELECT {where}", *values)]
        steps: list[Statement] = [
            (f"DELETE FROM fs_data WHERE {there}", values),  # noqa: S608  # own text
            (f"UPDATE fs_inode SET size = ?, mtime = ? WHERE {there}", (len(data), moment.times[0], *values)),  # noqa: S608  # own text
            *script._chunks("?", (int(ino or 0),), data, 4096),
        ]
        assert self.remote.transactions([steps]) == [None]

    def outside_delete(self, key: Key) -> None:
        where, values = script.place(parts_of(key))
        ino = int(self.remote.value(f"SELECT {where}", *values) or 0)
        assert self.remote.transactions([script._unlink(parts_of(key), ino, 1)]) == [None]

    async def test_a_source_whose_version_changes_underneath_is_not_copied(self, store: Store) -> None:
        await self.is_read_as_it_was_listed(store)

    async def test_a_source_is_one_version(self, store: Store) -> None:
        await self.is_read_as_it_was_listed(store)

    async def test_a_source_is_opened_lazily(self, store: Store) -> None:
        await self.is_read_as_it_was_listed(store)

    async def is_read_as_it_was_listed(self, store: Store) -> None:
        """What a copy holds is one version, whoever replaces it at the server: no request is needed to read it."""
        await create(store, Key("a"), b"old")
        source = store.source(Key("a"), await look(store, Key("a")))
        await self.edit(Key("a"), b"newer")
        assert await content(source) == b"old"
        assert await read(store, Key("a")) == b"newer"
