"""``trueup registry`` and ``trueup list|remove``: entries by name, what goes with them, and how they come back."""

import json
import os
import shutil
from collections.abc import Callable

import pytest
from anyio import to_thread
from tests.cli.robots import Robots, image
from tests.cli.terminal import talk
from tests.stores.docker.conftest import Images

from trueup.api import registries
from trueup.core.errors import PreconditionFailed
from trueup.stores.weights import proof
from trueup.stores.weights.folder import File

# -- looking ----------------------------------------------------------------------------------------------------------


def test_the_list_says_how_everything_stands(robots: Robots) -> None:
    robots.policy("openvla:7b", image="openvla")
    robots.policy("old-model:v1", pulled=False)
    robots.pull("octo:v1")
    robots.environment("libero")
    robots.environment("bridge")
    robots.holds(image("openvla:latest", "libero:latest"))
    robots.policy("smolvla:base")
    (robots.weights("smolvla:base") / "model.bin").write_bytes(b"")
    document = robots.document("registry", "ls")
    states = {(one["kind"], one["name"]): one["state"] for one in document["entries"]}
    assert states == {
        ("policy", "octo:v1"): "unregistered",
        ("policy", "old-model:v1"): "missing",
        ("policy", "openvla:7b"): "present",
        ("policy", "smolvla:base"): "damaged",
        ("env", "bridge"): "missing",
        ("env", "libero"): "present",
    }
    assert robots.document("list") == document
    told = robots.told("list", "policies")
    assert "libero" not in told
    assert "recorded, and its weights are not on disk" in told
    assert {one["kind"] for one in robots.document("list", "env")["entries"]} == {"env"}


def test_one_reason_of_many_entries_is_told_once(robots: Robots) -> None:
    for name in ("libero", "bridge", "aloha"):
        robots.environment(name)
    told = robots.told("list", "--docker-host", "unix:///none", code=2)
    assert told.count("Cannot connect") == 1
    assert "aloha and 2 more" in told


def test_an_empty_registry_is_said_to_be(robots: Robots) -> None:
    assert "names nothing" in robots.told("list")


# -- add, forget, adopt -----------------------------------------------------------------------------------------------


def test_an_entry_is_added_forgotten_and_comes_back(robots: Robots) -> None:
    robots.pull("openvla:7b")
    robots("registry", "add", "policy", "openvla:7b", "--image", "openvla:latest", "--repo", "org/openvla")
    (row,) = robots.rows()
    assert (row["image"], row["repo"], row["path"]) == (
        "openvla:latest",
        "org/openvla",
        str(robots.weights("openvla:7b")),
    )
    told = robots.told("registry", "forget", "openvla:7b")
    assert told.startswith("✓ Removed openvla:7b\n  undo: trueup undo ")
    assert (robots.rows(), len(robots.files())) == ([], 2)
    robots("undo", "last", "--yes")
    assert robots.rows() == [row]
    robots("undo", "last", "--yes")
    assert robots.rows() == []


def test_what_cannot_be_seen_does_not_matter_to_what_only_records(robots: Robots) -> None:
    down = ("--docker-host", "unix:///none")
    robots("registry", "add", "env", "libero", "--image", "libero", *down)
    assert robots.names("envs") == ["libero"]
    robots("registry", "forget", "env", "libero", *down)
    assert robots.names("envs") == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("add", "env", "libero"), "env libero needs an image - try: trueup registry add env libero --image IMAGE"),
        (("add", "env", "libero", "--image", "x", "--path", "y"), "neither a path nor a repo"),
        (("add", "env", "libero", "--image", "NO image"), "not the name of an image: 'NO image'"),
        (("add", "policy", "openvla:7b"), "policy openvla:7b is recorded already"),
        (("forget", "opnvla"), "no entry is called opnvla - there is openvla:7b"),
        (("forget", "env", "openvla"), "no entry is called openvla"),
        (("forget", "both"), "both is a policy and an environment"),
        (("forget", "policy"), "which entry?"),
        (("remove", "env", "both", "--delete-files"), "env both has no weights"),
        (("verify", "nothing"), "no entry is called nothing"),
    ],
)
def test_mistakes_change_nothing(robots: Robots, arguments: tuple[str, ...], says: str) -> None:
    robots.policy("openvla:7b")
    robots.policy("both:latest")
    robots.environment("both")
    before = robots.rows(), robots.rows("envs")
    result = robots("registry", *arguments, code=64)
    assert says in result.stderr
    assert (robots.rows(), robots.rows("envs")) == before


def test_one_or_all_are_adopted(robots: Robots) -> None:
    for key in ("openvla:7b", "octo:v1"):
        robots.pull(key)
    robots.holds(image("sims/libero:v2", Labels={"org.trueup.environment": "libero"}))
    robots("registry", "adopt", "octo:v1")
    assert (robots.names(), robots.names("envs")) == (["octo:v1"], [])
    document = robots.document("registry", "adopt")
    assert len(document["results"]) == 2
    assert (robots.names(), robots.names("envs")) == (["octo:v1", "openvla:7b"], ["libero"])
    assert "nothing to adopt" in robots.told("registry", "adopt")


# -- verify -----------------------------------------------------------------------------------------------------------


def test_changed_weights_are_found_by_reading_them(robots: Robots) -> None:
    robots.policy("openvla:7b")
    robots.policy("smolvla:base")
    robots.policy("old-model:v1", pulled=False)
    robots.told("registry", "verify", code=2)
    assert robots.told("registry", "verify", "openvla:7b") == "✓ 1 policy verified\n"
    told = robots.told("registry", "verify", "old-model:v1", code=2)
    assert told.startswith("x missing  old-model:v1: ")
    assert told.endswith("0 policies verified, 1 not\n")
    model = robots.weights("openvla:7b") / "model.bin"
    status = model.stat()
    model.write_bytes(model.read_bytes()[::-1])
    os.utime(model, ns=(status.st_atime_ns, status.st_mtime_ns))
    told = robots.told("registry", "verify", "openvla:7b", code=2)
    assert "x damaged  openvla:7b: model.bin is not what was verified before" in told
    assert robots.told("registry", "verify", "smolvla:base") == "✓ 1 policy verified\n", "of the others nothing is said"
    assert "x damaged       openvla:7b" in robots.told("sync", "policies", "-y", code=2)
    assert robots.names() == ["openvla:7b", "smolvla:base"]


def test_a_verification_that_was_stopped_goes_on_and_the_next_reads_everything(
    robots: Robots, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("octo:v1", "openvla:7b"):
        robots.policy(key)
    read: list[str] = []
    limit = 3
    digest = proof._digest

    def reading(path: str, file: File, progress: Callable[[str, int], None]) -> str:
        if len(read) == limit:
            raise PreconditionFailed("stopped")
        read.append(path)
        return digest(path, file, progress)

    monkeypatch.setattr(proof, "_digest", reading)
    with monkeypatch.context() as killed:
        killed.setattr(registries.Digests, "clear", lambda _: None)  # it did not come to its end
        robots("registry", "verify", code=2)
    read.clear()
    limit = 100
    robots("registry", "verify")
    assert len(read) == 1, "three of four files were read before"
    read.clear()
    robots("registry", "verify")
    assert len(read) == 4, "no digest is believed for good"


# -- remove -----------------------------------------------------------------------------------------------------------


def test_only_the_entry_goes_unless_more_is_asked_for(robots: Robots) -> None:
    robots.policy("openvla:7b")
    before = robots.files()
    robots("registry", "remove", "openvla:7b", "--yes")
    assert (robots.rows(), robots.files()) == ([], before)


def test_weights_go_to_the_trash_and_all_comes_back(robots: Robots) -> None:
    robots.policy("openvla:7b")
    robots.policy("smolvla:base")
    rows, files = robots.rows(), robots.files()
    told = robots.told("registry", "remove", "openvla:7b", "--delete-files", "--yes")
    assert "to the trash" in told
    assert "trueup undo" in told
    assert robots.names() == ["smolvla:base"]
    assert not any(name.startswith("openvla") for name in robots.files())
    assert "openvla:7b" in robots.told("trash", "ls", "policies")
    robots("undo", "last", "--yes")
    assert (sorted(map(str, robots.rows())), robots.files()) == (sorted(map(str, rows)), files)


def test_the_documents_spelling_deletes_weights_unless_they_are_to_be_kept(robots: Robots) -> None:
    robots.policy("openvla:7b")
    robots.policy("smolvla:base")
    robots.environment("libero")
    robots("remove", "policy", "openvla:7b", "--keep-weights", "-y")
    assert robots.names() == ["smolvla:base"]
    assert robots.weights("openvla:7b").exists()
    robots("remove", "policy", "smolvla:base", "-y")
    assert not robots.weights("smolvla:base").exists()
    robots("remove", "env", "libero", "-y")
    assert (robots.rows(), robots.rows("envs")) == ([], [])


def test_without_a_trash_nothing_is_kept_and_no_undo_is_promised(robots: Robots) -> None:
    robots.policy("openvla:7b")
    told = robots.told("registry", "remove", "openvla:7b", "--delete-files", "--no-trash", "--yes")
    assert "for good" in told
    assert "undo" not in told
    assert robots.files() == {}
    assert not list(robots.models.rglob("*.bin"))
    robots("undo", "last", "--yes", code=2)
    assert robots.rows() == []


@pytest.mark.parametrize(("reply", "code", "left"), [(b"y\n", 0, []), (b"n\n", 3, ["openvla:7b"])])
def test_a_removal_asks(robots: Robots, reply: bytes, code: int, left: list[str]) -> None:
    robots.policy("openvla:7b")
    ended, output = talk(robots, ["remove", "policy", "openvla:7b"], [("Remove policy openvla:7b? [y/N] ", reply)])
    assert (ended, robots.names()) == (code, left), output
    assert "deletes its weights" in output


def test_off_a_terminal_a_removal_is_not_begun(robots: Robots) -> None:
    robots.policy("openvla:7b")
    result = robots("remove", "policy", "openvla:7b", code=64)
    assert "--yes" in result.stderr
    assert robots.names() == ["openvla:7b"]
    assert robots.files()


def test_nothing_is_deleted_that_cannot_be_seen(robots: Robots) -> None:
    robots.policy("openvla:7b")
    robots.environment("libero")
    down = ("--docker-host", "unix:///none", "-y")
    result = robots("remove", "policy", "openvla:7b", "--delete-image", *down, code=1)
    assert "nothing is known of the image of openvla:7b - Cannot connect" in result.stderr
    assert robots.weights("openvla:7b").exists()
    robots.container("c1", "env", "libero-01234567", "libero")
    result = robots("remove", "env", "libero", *down, code=1)
    assert "nothing is known of the containers of libero" in result.stderr
    assert (robots.names(), robots.names("envs")) == (["openvla:7b"], ["libero"])


def test_an_entry_without_an_image_has_none_to_delete(robots: Robots) -> None:
    robots.policy("openvla:7b", image="")
    told = robots.told("remove", "policy", "openvla:7b", "--delete-image", "-y", "--docker-host", "unix:///none")
    assert "image" not in told
    assert robots.names() == []


# -- with a real engine -----------------------------------------------------------------------------------------------


@pytest.fixture
async def busy(robots: Robots, images: Images, monkeypatch: pytest.MonkeyPatch) -> Images:
    """Two environments whose names begin alike, each with an image and a running container."""
    monkeypatch.setenv("DOCKER_HOST", images.engine.endpoint)
    for name, number in (("libero", "libero-01234567"), ("libero2", "libero2-89abcdef")):
        await images.make(name)
        await images.run(name, number)
        robots.environment(name)
    for one in json.loads(await images.call("GET", "/containers/json")):
        name = one["Names"][0].removeprefix("/")
        robots.container(one["Id"], "env", name, name.split("-")[0])
    return images


async def running(images: Images) -> set[str]:
    found = json.loads(await images.call("GET", "/containers/json"))
    return {one["Names"][0].removeprefix("/") for one in found}


async def tags(images: Images) -> set[str]:
    found = json.loads(await images.call("GET", "/images/json"))
    return {tag for one in found for tag in one["RepoTags"] or ()}


@pytest.mark.engine
async def test_the_containers_of_an_entry_are_stopped_and_of_no_other(robots: Robots, busy: Images) -> None:
    told = (await to_thread.run_sync(lambda: robots("remove", "env", "libero", "-y"))).stdout
    assert "stops 1 container" in told
    assert await running(busy) == {"libero2-89abcdef"}
    assert robots.names("envs") == ["libero2"]
    assert "libero:latest" in await tags(busy)


@pytest.mark.engine
async def test_sync_stops_no_container(robots: Robots, busy: Images) -> None:
    await busy.call("DELETE", "/images/libero:latest?force=1")
    await to_thread.run_sync(lambda: robots("sync", "envs", "-y"))
    assert robots.names("envs") == ["libero2"]
    assert await running(busy) == {"libero-01234567", "libero2-89abcdef"}


@pytest.mark.engine
async def test_an_image_goes_to_the_trash_and_comes_back(
    robots: Robots, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", images.engine.endpoint)
    await images.make("libero")
    robots.environment("libero")
    await to_thread.run_sync(lambda: robots("remove", "env", "libero", "--delete-image", "-y"))
    assert robots.names("envs") == []
    assert "libero:latest" not in await tags(images)
    await to_thread.run_sync(lambda: robots("undo", "last", "--yes"))
    assert robots.names("envs") == ["libero"]
    assert await tags(images) == {"libero:latest"}
    await to_thread.run_sync(lambda: robots("remove", "env", "libero", "--delete-image", "--no-trash", "-y"))
    assert await tags(images) == set()


@pytest.mark.engine
async def test_an_image_that_another_entry_uses_stays(
    robots: Robots, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", images.engine.endpoint)
    await images.make("sim")
    robots.environment("libero", "sim")
    robots.environment("bridge", "docker.io/library/sim:latest")
    told = (await to_thread.run_sync(lambda: robots("remove", "env", "libero", "--delete-image", "-y"))).stdout
    assert "keeps its image sim: env bridge uses it too" in told
    assert robots.names("envs") == ["bridge"]
    assert await tags(images) == {"sim:latest"}


def test_what_was_synced_comes_back(robots: Robots) -> None:
    robots.policy("openvla:7b")
    robots.policy("smolvla:base")
    rows = robots.rows()
    shutil.rmtree(robots.weights("openvla:7b"))
    robots("sync", "policies", "-y")
    assert robots.names() == ["smolvla:base"]
    robots("undo", "last", "--yes")
    assert sorted(map(str, robots.rows())) == sorted(map(str, rows))
    robots("undo", "last", "--yes")
    assert robots.names() == ["smolvla:base"]
