"""What is wrong with a registry is said by name, with the next command; it is never taken for an empty one."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.stores.registry.conftest import Maple
from tests.stores.registry.test_registry import ENV, LIBERO, OPENVLA, POLICY, record

from trueup.core.errors import AccessDenied, Corrupt, NoSpace, NotFound, StoreError, Unavailable
from trueup.core.model import Key, Record
from trueup.protocols import Opening
from trueup.stores.records import Change, version
from trueup.stores.registry import RegistryStore
from trueup.stores.registry.database import faults

ADD = Change(Key("smolvla:libero"), None, record())


def test_a_locked_registry_is_read_and_not_written(maple: Maple, database: Path, policies: RegistryStore) -> None:
    maple(POLICY)
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert set(policies.read()) == {OPENVLA}
        with pytest.raises(Unavailable, match=r"locked by another program - it was not free within 0.2 s") as caught:
            policies.change([ADD])
        assert "fuser -v" in caught.value.attempt
        other.execute("ROLLBACK")
    policies.change([ADD])
    assert set(policies.read()) == {OPENVLA, ADD.key}


def test_a_registry_that_is_locked_for_reading_too(maple: Maple, database: Path, policies: RegistryStore) -> None:
    maple(POLICY)
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode=DELETE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Unavailable, match="locked"):
            policies.read()


@pytest.mark.parametrize("size", [1, 99, 4096, 10_000])
def test_a_registry_that_was_cut_off(maple: Maple, database: Path, policies: RegistryStore, size: int) -> None:
    maple(POLICY, ENV)
    os.truncate(database, size)
    for look in (policies.read, lambda: policies.change([ADD])):
        with pytest.raises(StoreError, match=r"is damaged|is not a SQLite database|is cut off") as caught:
            look()
        assert caught.value.attempt


def test_a_registry_that_was_cut_off_altogether_is_not_an_empty_one(database: Path, policies: RegistryStore) -> None:
    database.parent.mkdir()
    database.touch()
    for look in (policies.read, lambda: policies.change([ADD])):
        with pytest.raises(Corrupt, match="is cut off") as caught:
            look()
        assert "rm " in caught.value.attempt
    assert database.stat().st_size == 0


def test_a_damaged_page(maple: Maple, database: Path, policies: RegistryStore) -> None:
    maple(POLICY)
    raw = bytearray(database.read_bytes())
    with closing(sqlite3.connect(database)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'policies'").fetchone()
    raw[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    database.write_bytes(raw)
    with pytest.raises(Corrupt, match="is damaged - ") as caught:
        policies.read()
    assert ".recover" in caught.value.attempt


def test_a_file_that_is_no_database(database: Path, policies: RegistryStore) -> None:
    database.parent.mkdir()
    database.write_text("openvla 7b\n" * 1000)
    with pytest.raises(StoreError, match="is not a SQLite database") as caught:
        policies.read()
    assert "--registry" in caught.value.attempt


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        ("DROP TABLE policies", "no table policies"),
        ("ALTER TABLE policies RENAME COLUMN path TO place", "no column path in table policies"),
    ],
)
def test_a_registry_of_another_form(
    maple: Maple, database: Path, policies: RegistryStore, envs: RegistryStore, harm: str, what: str
) -> None:
    maple(ENV)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(harm)
    before = database.read_bytes()
    for look in (policies.read, lambda: policies.change([ADD])):
        with pytest.raises(StoreError, match=what) as caught:
            look()
        assert "update trueup" in caught.value.attempt
    assert set(envs.read()) == {LIBERO}
    assert database.read_bytes() == before


def test_no_directory(database: Path, policies: RegistryStore) -> None:
    for look in (policies.read, lambda: policies.change([ADD])):
        with pytest.raises(NotFound, match=r"no directory .* for the registry") as caught:
            look()
        assert "mkdir -p" in caught.value.attempt
    assert not database.parent.exists()


def test_what_is_no_file(database: Path, policies: RegistryStore, opening: Opening) -> None:
    database.mkdir(parents=True)
    with pytest.raises(StoreError, match="is not a file"):
        policies.read()
    (database / "file").touch()
    with pytest.raises(NotFound, match="is not a directory"):
        RegistryStore(str(database / "file" / "state.db"), "policies", opening).read()


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may look into, as pytest's is not."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture
def nobody() -> Iterator[None]:
    """Somebody whom permissions hold back."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def guarded(maple: Maple, database: Path, public: Path, opening: Opening) -> RegistryStore:
    """A registry that others may read and not write."""
    maple(POLICY)
    shutil.copy(database, public / "state.db")
    (public / "state.db").chmod(0o444)
    public.chmod(0o555)
    return RegistryStore(str(public / "state.db"), "policies", opening)


def test_a_registry_that_must_not_be_written_is_read(guarded: RegistryStore, nobody: None) -> None:
    assert set(guarded.read()) == {OPENVLA}
    with pytest.raises(AccessDenied) as caught:
        guarded.change([Change(OPENVLA, version(guarded.read()[OPENVLA]), None)])
    assert caught.value.what == f"Unable to write to database at {guarded.path}"
    assert "permissions" in caught.value.attempt
    assert set(guarded.read()) == {OPENVLA}


def test_a_registry_that_must_not_be_read(guarded: RegistryStore, public: Path, request: pytest.FixtureRequest) -> None:
    (public / "state.db").chmod(0)
    request.getfixturevalue("nobody")
    with pytest.raises(AccessDenied, match="no permission to read the registry") as caught:
        guarded.read()
    assert "ls -l" in caught.value.attempt


def test_a_directory_that_must_not_be_looked_into(
    guarded: RegistryStore, public: Path, request: pytest.FixtureRequest
) -> None:
    public.chmod(0)
    request.getfixturevalue("nobody")
    with pytest.raises(AccessDenied, match="no permission to read the registry"):
        guarded.read()


def test_a_directory_in_which_no_registry_can_be_made(
    public: Path, opening: Opening, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("nobody")
    store = RegistryStore(str(public / "state.db"), "policies", opening)
    with pytest.raises(AccessDenied, match="Unable to write to database at"):
        store.change([ADD])
    assert list(public.iterdir()) == []


def test_the_home_is_written_as_people_write_it(
    database: Path, policies: RegistryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    database.parent.mkdir()
    database.touch()
    with pytest.raises(Corrupt, match=r"the registry ~/\.maple/state\.db is cut off"):
        policies.read()


def test_the_home_is_understood(tmp_path: Path, opening: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    store = RegistryStore("~/state.db", "envs", opening)
    assert store.properties.location == f"{tmp_path}/state.db#envs"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SQLITE_FULL", NoSpace),
        ("SQLITE_IOERR_READ", Unavailable),
        ("SQLITE_BUSY_SNAPSHOT", Unavailable),
        ("SQLITE_TOOBIG", StoreError),
    ],
)
def test_faults_that_are_hard_to_bring_about(name: str, expected: type[StoreError]) -> None:
    error = sqlite3.OperationalError("as SQLite says")
    error.sqlite_errorname = name
    with pytest.raises(StoreError) as caught, faults("/registry", 1.0):
        raise error
    assert type(caught.value) is expected


def test_a_change_that_the_database_ignores_is_no_change(maple: Maple, database: Path, opening: Opening) -> None:
    maple(POLICY)
    with closing(sqlite3.connect(database)) as connection:
        for event in ("DELETE", "UPDATE", "INSERT"):
            connection.execute(f"CREATE TRIGGER k{event} BEFORE {event} ON policies BEGIN SELECT RAISE(IGNORE); END")
    store = RegistryStore(str(database), "policies", opening)
    (there,) = store.read().values()
    for change in (
        Change(OPENVLA, version(there), None),
        Change(OPENVLA, version(there), Record.of(there.fields | {"repo": "other"})),
        ADD,
    ):
        with pytest.raises(StoreError, match="has not taken the change of"):
            store.change([change])
    assert list(store.read().values()) == [there]
