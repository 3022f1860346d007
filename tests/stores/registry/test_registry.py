"""The registry that MAPLE writes, read and changed; and one of our own that MAPLE reads."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.stores.registry.conftest import Maple, change, there

from trueup.core.errors import Corrupt, PreconditionFailed, StoreError
from trueup.core.model import Key, Record, Token
from trueup.protocols import Put, Remove, Trash, document
from trueup.stores.records import Change, version
from trueup.stores.registry import Container, RegistryStore, containers_of

OPENVLA = Key("openvla:7b")
LIBERO = Key("libero")
POLICY = ("add_policy", "openvla", "maplerobotics/openvla:latest", "7b", "/models/openvla/7b", "openvla/openvla-7b")
ENV = ("add_env", "libero", "maplerobotics/libero:latest")
RUN = Trash("run")


def record(name: str = "smolvla", version: str = "libero", **more: Any) -> Record:
    fields = {"name": name, "version": version, "image": "i:latest", "path": f"/m/{name}/{version}", "repo": None}
    return Record.of({**fields, "pulled_at": 1.5, **more})


def everything_else(database: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        found = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()
        for table in ("containers", "runs"):
            found += connection.execute(f"SELECT * FROM {table} ORDER BY id").fetchall()  # noqa: S608
        return found


async def test_what_maple_has_written_is_read(maple: Maple, policies: RegistryStore, envs: RegistryStore) -> None:
    maple(POLICY, ENV)
    (policy,) = (await there(policies)).values()
    pulled_at = policy.fields.pop("pulled_at")
    assert await there(policies) == {
        OPENVLA: Record.of(
            {
                "name": "openvla",
                "version": "7b",
                "image": "maplerobotics/openvla:latest",
                "path": "/models/openvla/7b",
                "repo": "openvla/openvla-7b",
                "pulled_at": pulled_at,
            }
        )
    }
    assert [(key, env.fields["image"]) for key, env in (await there(envs)).items()] == [
        (LIBERO, "maplerobotics/libero:latest")
    ]
    entry = await policies.stat(OPENVLA)
    assert entry is not None
    assert entry.token == version(policy)
    assert await policies.stat(Key("openvla:7")) is None
    assert await envs.stat(Key("liber")) is None


async def test_maple_sees_what_is_changed_and_nothing_else_has_changed(
    maple: Maple, database: Path, policies: RegistryStore, envs: RegistryStore
) -> None:
    container = ("add_container", "c1", "env", "libero-0123abcd", "libero", "127.0.0.1", 8000, "ready")
    maple(POLICY, ENV, container, ("add_run", "r1", "openvla:7b", "libero", "task"))
    before = everything_else(database)
    old = (await there(policies))[OPENVLA]
    changed = Record.of({**old.fields, "repo": "elsewhere"})
    await policies.write(OPENVLA, document(changed.document), expect=version(old), trash=RUN)
    await policies.write(Key("smolvla:libero"), document(record().document), expect=None, trash=RUN)
    await envs.remove(LIBERO, expect=version((await there(envs))[LIBERO]), trash=RUN)

    policy, added, env = maple(("get_policy", "openvla", "7b"), ("get_policy", "smolvla", "libero"), ("list_envs",))
    assert policy == {"id": 1, **changed.fields}
    assert added == {"id": 2, **record().fields}
    assert env == []
    assert everything_else(database) == before


async def test_a_removed_record_is_kept_and_comes_back(maple: Maple, envs: RegistryStore) -> None:
    maple(ENV)
    old = (await there(envs))[LIBERO]
    written = await envs.remove(LIBERO, expect=version(old), trash=RUN)
    assert await there(envs) == {}
    assert written.kept is not None
    entry = await envs.stat(LIBERO)
    assert entry is None
    (kept,) = await envs.kept()
    await envs.write(LIBERO, document(old.document), expect=None, trash=None)
    assert kept.key == LIBERO
    assert await there(envs) == {LIBERO: old}


async def test_the_two_tables_do_not_share_what_is_kept(
    maple: Maple, policies: RegistryStore, envs: RegistryStore
) -> None:
    maple(POLICY, ENV)
    await policies.remove(OPENVLA, expect=version((await there(policies))[OPENVLA]), trash=RUN)
    assert [one.key for one in await policies.kept()] == [OPENVLA]
    assert await envs.kept() == []


async def test_an_absent_registry_has_no_entries_and_the_first_write_makes_one_for_maple(
    maple: Maple, database: Path, policies: RegistryStore
) -> None:
    database.parent.mkdir()
    assert await there(policies) == {}
    assert await policies.stat(OPENVLA) is None
    await change(policies, [])
    assert not database.exists()
    await policies.write(Key("smolvla:libero"), document(record().document), expect=None, trash=None)
    assert [path.name for path in database.parent.iterdir()] == ["state.db"]
    ours = everything_else(database)
    (seen,) = maple(("list_policies",))
    assert seen == [{"id": 1, **record().fields}]

    database.unlink()
    maple()
    theirs = everything_else(database)
    assert [row[:2] for row in ours] == [row[:2] for row in theirs]
    assert shape(ours) == shape(theirs)


def shape(rows: list[tuple[object, ...]]) -> list[str]:
    """What is declared, without comments and white space."""
    return [" ".join(line.partition("--")[0] for line in str(sql or "").splitlines()).split() for *_, sql in rows]  # type: ignore[misc]


def test_a_registry_that_appears_while_ours_is_made_is_left_as_it_is(
    maple: Maple, database: Path, policies: RegistryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MAPLE makes its own between our look and our write."""
    from trueup.stores import registry

    def look(path: str) -> bool:
        maple(POLICY)
        return False

    database.parent.mkdir()
    monkeypatch.setattr(registry, "exists", look)
    policies.change([Change(Key("smolvla:libero"), None, record())])
    monkeypatch.undo()
    assert set(policies.read()) == {OPENVLA, "smolvla:libero"}


async def test_a_lost_race_is_refused_inside_the_transaction_and_nothing_has_changed(
    maple: Maple, policies: RegistryStore
) -> None:
    maple(POLICY)
    before = await there(policies)
    added = Change(Key("smolvla:libero"), None, record())
    for lost in (
        Change(OPENVLA, Token("another"), None),
        Change(OPENVLA, None, record("openvla", "7b")),
        Change(Key("gone:v1"), Token("some"), None),
    ):
        with pytest.raises(PreconditionFailed, match="by now"):
            await change(policies, [added, lost])
        assert await there(policies) == before


async def test_a_batch_does_what_it_can(maple: Maple, policies: RegistryStore) -> None:
    maple(POLICY)
    late = Remove(OPENVLA, Token("another"), RUN)
    new = Put(Key("smolvla:libero"), document(record().document), None, RUN)
    first, second = await policies.batch([late, new])
    assert isinstance(first, PreconditionFailed)
    assert not isinstance(second, StoreError)
    assert set(await there(policies)) == {OPENVLA, "smolvla:libero"}


async def test_a_newer_table_with_more_columns_keeps_them(maple: Maple, database: Path, envs: RegistryStore) -> None:
    maple(ENV)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("ALTER TABLE envs ADD COLUMN digest TEXT DEFAULT 'd1'")
    old = (await there(envs))[LIBERO]
    assert old.fields["digest"] == "d1"
    await envs.remove(LIBERO, expect=version(old), trash=None)
    await envs.write(LIBERO, document(old.document), expect=None, trash=None)
    assert await there(envs) == {LIBERO: old}


@pytest.mark.parametrize(
    ("key", "fields", "why"),
    [
        ("smolvla:libero", {"colour": "red"}, "no column colour"),
        ("smolvla:other", {}, "another entry's"),
        ("smolvla", {}, "not of the form NAME:VERSION"),
        ("smolvla:libero", {"repo": ["a"]}, "cannot be a column"),
        ("smolvla:libero", {"repo": "a\udcff"}, "not text"),
    ],
)
def test_a_record_that_the_table_cannot_hold_is_refused(
    maple: Maple, policies: RegistryStore, key: str, fields: dict[str, Any], why: str
) -> None:
    maple()
    with pytest.raises(StoreError, match=why):
        policies.change([Change(Key(key), None, record(**fields))])
    assert policies.read() == {}


@pytest.mark.parametrize("name", ["a:b", "../../etc", "", " ", "a\0b", "é\n", "a'); DROP TABLE policies; --"])
async def test_any_name_is_read_and_removed(maple: Maple, policies: RegistryStore, name: str) -> None:
    maple(POLICY, ("add_policy", name, "i", "v:1", "/p"))
    (key,) = set(await there(policies)) - {OPENVLA}
    entry = await policies.stat(key)
    assert entry is not None
    await policies.remove(key, expect=entry.token, trash=RUN)
    assert set(await there(policies)) == {OPENVLA}


async def test_a_name_that_is_no_text_is_read_and_removed(
    maple: Maple, database: Path, policies: RegistryStore
) -> None:
    maple(POLICY)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE policies SET name = CAST(x'61ff' AS TEXT)")
    ((key, found),) = (await there(policies)).items()
    assert key == "a\udcff:7b"
    await policies.remove(key, expect=version(found), trash=RUN)
    assert await there(policies) == {}


def test_two_rows_of_one_name_are_refused(maple: Maple, policies: RegistryStore) -> None:
    maple(("add_policy", "a:b", "i", "c", "/p"), ("add_policy", "a", "i", "b:c", "/p"))
    with pytest.raises(Corrupt, match=r"rows 1 and 2 of policies in .* are both called a:b:c"):
        policies.read()


def test_bytes_where_text_belongs_are_refused(maple: Maple, database: Path, policies: RegistryStore) -> None:
    maple(POLICY)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE policies SET repo = x'00ff'")
    with pytest.raises(Corrupt, match="row 1 of policies"):
        policies.read()


def test_containers_are_those_of_one_entry_exactly(maple: Maple, database: Path) -> None:
    def container(number: int, kind: str, name: str, backend: str, status: str = "ready") -> tuple[object, ...]:
        return ("add_container", f"c{number}", kind, name, backend, "127.0.0.1", 8000 + number, status)

    maple(
        container(1, "env", "libero-0123abcd", "libero"),
        container(2, "env", "libero2-0123abcd", "libero2"),
        container(3, "env", "libero-2-0123abcd", "libero-2"),
        container(4, "policy", "openvla-7b-0123abcd", "openvla", "unhealthy"),
        container(5, "policy", "openvla-7b-fp16-0123abcd", "openvla"),
        container(6, "policy", "openvla-7-0123abcd", "openvla"),
        container(7, "env", "libero-89abcdef", "libero", "starting"),
        container(8, "policy", "libero-0123abcd", "libero"),
    )
    found = containers_of(str(database), "envs", "libero")
    assert found == [
        Container("c1", "libero-0123abcd", "127.0.0.1", 8001, "ready"),
        Container("c7", "libero-89abcdef", "127.0.0.1", 8007, "starting"),
    ]
    assert [one.id for one in containers_of(str(database), "envs", "libero-2")] == ["c3"]
    assert [one.id for one in containers_of(str(database), "policies", "openvla:7b")] == ["c4"]
    assert containers_of(str(database), "envs", "liber") == []
    assert containers_of(str(database.with_name("none.db")), "envs", "libero") == []
