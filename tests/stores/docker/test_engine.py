"""A real container engine: what it holds, and what it says when it cannot be asked."""

import importlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.stores.docker.conftest import Images, rows, store_at

from trueup.core.errors import AccessDenied, NotFound, PreconditionFailed, ReadOnly, StoreError, TimedOut, Unavailable
from trueup.core.model import Content, Entry, Key, Kind, Token
from trueup.core.table import Verb
from trueup.protocols import Trash
from trueup.stores.docker import DEFAULT_URL, DockerStore
from trueup.testing.engines import DockerEngine

LIBERO = Key("libero")


async def stop(store: DockerStore) -> object:
    return await store.stop_container("c", grace_seconds=0)


async def remove(store: DockerStore) -> object:
    return await store.remove(LIBERO, expect=Token("sha256:any"), trash=None)


async def test_an_image_is_found_by_each_of_its_names(images: Images) -> None:
    number = await images.make("libero")
    await images.tag("libero", "other.example/sims/libero", "v2")
    names = ["libero", "libero:latest", "docker.io/library/libero", "other.example/sims/libero:v2", number]
    wanted = {Key(f"env{n}"): name for n, name in enumerate(names)}
    wanted[Key("gone")] = "libero:v3"
    wanted[Key("never")] = "nobody/has:it"
    wanted[Key("odd")] = "no name: at all"
    found = await rows(store_at(images.engine.endpoint, wanted))
    assert Key("gone") not in found
    assert Key("never") not in found
    odd = found.pop(Key("odd"))
    assert (odd[2], odd[6]) == (Kind.UNREADABLE, "not the name of an image: 'no name: at all'")
    assert set(found) == {key for key in wanted if key.startswith("env")}
    assert {(row[1], row[2], row[3] > 1000) for row in found.values()} == {(number, Kind.FILE, True)}


async def test_a_short_id_is_no_name(images: Images) -> None:
    number = (await images.make("libero")).removeprefix("sha256:")
    assert await rows(store_at(images.engine.endpoint, {LIBERO: number[:12]})) == {}


async def test_labelled_images_that_nobody_has_recorded_are_shown(images: Images) -> None:
    await images.make("libero", org_trueup_environment="libero")
    newest = await images.make("sims/alohasim", "v1", vla_env="alohasim")
    await images.make("plain")
    await images.make("recorded", org_trueup_environment="another name")
    store = store_at(images.engine.endpoint, {LIBERO: "libero", Key("mine"): "recorded"})
    found = await rows(store)
    assert set(found) == {"libero", "mine", "alohasim"}
    assert found[Key("alohasim")][1:3] == (newest, Kind.FILE)
    assert store.reference_of(Key("alohasim")) == "sims/alohasim:v1"
    assert store.reference_of(LIBERO) == "libero"
    assert store.reference_of(Key("plain")) is None
    entry = await store.stat(Key("alohasim"))
    assert entry is not None
    assert entry.token == newest


async def test_a_container_is_stopped_and_its_image_removed(images: Images) -> None:
    number = Token(await images.make("libero"))
    await images.make("libero2")
    await images.run("libero", "libero-0123abcd")
    store = store_at(images.engine.endpoint, {LIBERO: "libero", Key("odd"): "../containers"})
    with pytest.raises(StoreError, match=r"answered 409 - .*container") as caught:
        await store.remove(LIBERO, expect=number, trash=None)
    assert not isinstance(caught.value, Unavailable)
    assert await store.stop_container("libero-0123abcd", grace_seconds=0)
    assert await store.stop_container("libero-0123abcd", grace_seconds=0)
    assert not await store.stop_container("libero-89abcdef", grace_seconds=0)
    await images.call("DELETE", "/containers/libero-0123abcd")
    with pytest.raises(PreconditionFailed):
        await store.remove(LIBERO, expect=Token("sha256:another"), trash=None)
    await store.remove(LIBERO, expect=number, trash=None)
    with pytest.raises(PreconditionFailed):
        await store.remove(LIBERO, expect=number, trash=None)
    assert set(await rows(store_at(images.engine.endpoint, {LIBERO: "libero", Key("2"): "libero2"}))) == {"2"}
    with pytest.raises(StoreError, match="not the name of an image"):
        await store.remove(Key("odd"), expect=number, trash=None)


async def test_a_removed_image_waits_in_the_trash_and_comes_back(images: Images) -> None:
    number = Token(await images.make("libero", "v1"))
    store = store_at(images.engine.endpoint, {LIBERO: "libero:v1"})
    removed = await store.remove(LIBERO, expect=number, trash=Trash("20260101T000000-Ab"))
    assert LIBERO not in await rows(store)
    (kept,) = await store.kept()
    assert (kept.handle, kept.run, kept.key) == (removed.kept, "20260101T000000-Ab", LIBERO)
    entry = Entry(number, Content(Kind.FILE, kept.size))
    with pytest.raises(ReadOnly), store.kept_source(kept.handle, entry).open():
        pass
    written = await store.write(LIBERO, store.kept_source(kept.handle, entry), expect=None, trash=None)
    assert written.token == number
    assert (await rows(store))[LIBERO][1] == number
    assert await store.kept() == []
    with pytest.raises(NotFound):
        await store.write(LIBERO, store.kept_source(kept.handle, entry), expect=number, trash=None)


async def test_a_pruned_image_is_gone_and_one_that_went_by_itself_is_said_to_be(images: Images) -> None:
    number = Token(await images.make("libero"))
    store = store_at(images.engine.endpoint, {LIBERO: "libero"})
    (removed,) = [await store.remove(LIBERO, expect=number, trash=Trash("r1"))]
    assert removed.kept is not None
    await store.prune(removed.kept)
    assert await store.kept() == []
    with pytest.raises(NotFound):
        await store.prune(removed.kept)
    number = Token(await images.make("libero"))
    removed = await store.remove(LIBERO, expect=number, trash=Trash("r2"))
    (kept,) = await store.kept()
    await images.call("DELETE", f"/images/trueup-trash/r2:{kept.handle.rpartition(':')[2]}")
    source = store.kept_source(kept.handle, Entry(number, Content(Kind.FILE, 1)))
    with pytest.raises(NotFound, match="no longer kept"):
        await store.write(LIBERO, source, expect=None, trash=None)


# -- not to be asked --------------------------------------------------------------------------------------------------


async def test_no_socket(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        await rows(store_at(f"unix://{tmp_path}/none.sock", {LIBERO: "libero"}))
    assert caught.value.what == f"Cannot connect to the Docker daemon at unix://{tmp_path}/none.sock"
    assert caught.value.why == f"there is no socket {tmp_path}/none.sock"
    assert caught.value.attempt.startswith("sudo systemctl start docker")


async def test_a_socket_that_a_dead_engine_left(tmp_path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as stale:
        stale.bind(str(tmp_path / "s"))
    store = store_at(f"unix://{tmp_path}/s", {LIBERO: "libero"})
    for ask in (rows, stop, remove):
        with pytest.raises(Unavailable, match=r"Cannot connect to the Docker daemon at .* - nobody listens there"):
            await ask(store)


@pytest.fixture
def nobody() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def guarded() -> Iterator[Path]:
    """A socket that nobody but the superuser may use."""
    with tempfile.TemporaryDirectory() as directory, closing(socket.socket(socket.AF_UNIX)) as listening:
        Path(directory).chmod(0o755)
        path = Path(directory) / "docker.sock"
        listening.bind(str(path))
        listening.listen()
        path.chmod(0)
        importlib.import_module("docker")  # nobody may not be able to read this Python's library
        yield path


def test_a_socket_of_others(guarded: Path, nobody: None) -> None:
    with pytest.raises(AccessDenied) as caught:
        store_at(f"unix://{guarded}", {LIBERO: "libero"}).rows()
    assert caught.value.what == f"Cannot connect to the Docker daemon at unix://{guarded}"
    assert caught.value.why == f"no permission for the socket {guarded}: it is for the group docker"
    assert caught.value.attempt == "sudo usermod -aG docker $USER, then log in again"


async def test_an_engine_that_hangs(images: Images) -> None:
    await images.make("libero")
    pid = images.engine.pid
    assert pid is not None
    store = store_at(images.engine.endpoint, {LIBERO: "libero"}, timeout_seconds=0.5)
    os.kill(pid, signal.SIGSTOP)
    try:
        for ask in (rows, stop, remove):
            with pytest.raises(TimedOut, match=r"did not answer within 0\.5 s"):
                await ask(store)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert set(await rows(store_at(images.engine.endpoint, {LIBERO: "libero"}))) == {LIBERO}


async def test_an_address_that_is_none() -> None:
    for url in ("gopher://x", "tcp://127.0.0.1:1", "tcp://127.0.0.1:x"):
        with pytest.raises(Unavailable, match=f"Cannot connect to the Docker daemon at {url}"):
            await rows(store_at(url, {LIBERO: "libero"}))


def test_the_address_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    assert store_at("", {}).properties.location == DEFAULT_URL
    monkeypatch.setenv("DOCKER_HOST", "unix:///tmp/there-is-none")
    assert store_at("", {}).properties.location == "unix:///tmp/there-is-none"
    assert store_at("unix:///other", {}).properties.location == "unix:///other"
    with pytest.raises(Unavailable, match="unix:///tmp/there-is-none"):
        store_at("", {}).rows()


async def test_without_the_client_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(StoreError, match="not installed - no module docker") as caught:
        await rows(store_at("unix:///none", {LIBERO: "libero"}))
    assert caught.value.attempt == "pip install 'trueup[docker]'"


def test_the_client_is_loaded_when_it_is_used() -> None:
    assert importlib.util.find_spec("docker") is not None
    code = "import sys, trueup.stores.docker; sys.exit('docker' in sys.modules or 'requests' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# -- the engine of the tests ------------------------------------------------------------------------------------------


def test_an_engine_leaves_nothing_mounted_behind(container_engine: DockerEngine) -> None:
    with tempfile.TemporaryDirectory(prefix="trueup-") as directory:
        with DockerEngine(Path(directory)) as engine:
            assert engine.pid != container_engine.pid
        assert engine.pid is None
        assert directory not in Path("/proc/self/mounts").read_text()


def test_images_are_removed_and_put_back_and_nothing_else_is_planned() -> None:
    assert store_at("unix:///none", {}).properties.verbs == {Verb.PUT, Verb.DELETE, Verb.SAVE}
