"""Policies and environments at the command line: the transcripts of the document, and what else can happen."""

import json
import os
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
from tests.cli.home import Home
from tests.cli.test_terminal import talk
from tests.stores.docker.conftest import Images, archive, images

from trueup.stores.registry.schema import CREATE

__all__ = ["archive", "images"]  # fixtures

NONE = "unix:///none/docker.sock"


@dataclass(frozen=True)
class Maple:
    """A registry with its weights, in the home of a person."""

    home: Home
    path: Path

    @property
    def models(self) -> Path:
        return self.path / "models"

    def sql(self, text: str, *values: object) -> list[tuple[object, ...]]:
        connection = sqlite3.connect(self.path / "state.db")
        try:
            with connection:
                return connection.execute(text, values).fetchall()
        finally:
            connection.close()

    def policy(self, spec: str, *, image: str = "i:latest", weights: str | None = "weights") -> None:
        name, version = spec.split(":")
        folder = self.models / name / version
        self.sql(
            "INSERT INTO policies (name, image, version, path, repo, pulled_at) VALUES (?, ?, ?, ?, 'hf', 1.0)",
            *(name, image, version, str(folder)),
        )
        if weights is not None:
            self.weights(spec, weights)

    def weights(self, spec: str, text: str = "weights") -> Path:
        folder = self.models.joinpath(*spec.split(":"))
        folder.mkdir(parents=True)
        (folder / "model.bin").write_text(text)
        return folder

    def env(self, name: str, image: str) -> None:
        self.sql("INSERT INTO envs (name, image, pulled_at) VALUES (?, ?, 1.0)", name, image)

    def recorded(self, table: str = "policies") -> list[str]:
        names = "name || ':' || version" if table == "policies" else "name"
        return [str(row[0]) for row in self.sql(f"SELECT {names} FROM {table} ORDER BY 1")]  # noqa: S608


@pytest.fixture
def maple(home: Home, monkeypatch: pytest.MonkeyPatch) -> Maple:
    """An empty registry, and no container engine."""
    (home.path / "trueup.toml").unlink()
    monkeypatch.setenv("HOME", str(home.path))
    monkeypatch.setenv("DOCKER_HOST", NONE)
    path = home.path / ".maple"
    (path / "models").mkdir(parents=True)
    connection = sqlite3.connect(path / "state.db")
    connection.executescript(CREATE)
    connection.close()
    return Maple(Home(home.path, dict(os.environ)), path)


# -- the document ----------------------------------------------------------------------------------------------------


def test_all_present(maple: Maple) -> None:
    maple.policy("openvla:7b")
    assert maple.home("sync", "policies").stdout == (
        "Scanning policies...\n✓ All policies in database have weights on disk\n"
    )


def missing(maple: Maple) -> str:
    """Two policies without weights; how the document shows them."""
    maple.policy("openvla:7b", weights=None)
    maple.policy("old-model:v1", weights=None)
    paths = [str(maple.models / "old-model/v1"), str(maple.models / "openvla/7b")]
    wide = max(map(len, paths))
    bar = "─" * (wide + 2)
    return (
        "Scanning policies...\n"
        "\n"
        "Found 2 policies with missing weights:\n"
        "\n"
        f"┌───────────┬─────────┬{bar}┬─────────┐\n"
        f"│ Name      │ Version │ {'Path':<{wide}} │ Status  │\n"
        f"├───────────┼─────────┼{bar}┼─────────┤\n"
        f"│ old-model │ v1      │ {paths[0]:<{wide}} │ Missing │\n"
        f"│ openvla   │ 7b      │ {paths[1]:<{wide}} │ Missing │\n"
        f"└───────────┴─────────┴{bar}┴─────────┘\n"
        "\n"
    )


REMOVED = "✓ Removed old-model:v1\n✓ Removed openvla:7b\n"


def test_a_dry_run_shows_and_does_nothing(maple: Maple) -> None:
    shown = missing(maple)
    assert maple.home("sync", "policies", "--dry-run").stdout == shown + "Dry run - no changes made\n"
    assert len(maple.recorded()) == 2
    maple.home("sync", "policies", "--dry-run", "--quiet", code=3)


@pytest.mark.parametrize(("reply", "code", "rest"), [(b"y\n", 0, REMOVED), (b"n\n", 3, ""), (b"\n", 3, "")])
def test_the_question_is_that_of_the_document(maple: Maple, reply: bytes, code: int, rest: str) -> None:
    shown = missing(maple)
    question = "Remove 2 policy entries from database? [y/N]: "
    ended, output = talk(maple.home, ["--color", "never", "sync", "policies"], [(question, reply)])
    assert (ended, output) == (code, f"{shown}{question}{reply.decode()}{rest}")
    assert len(maple.recorded()) == (0 if code == 0 else 2)


def test_yes_does_not_ask(maple: Maple) -> None:
    shown = missing(maple)
    assert maple.home("sync", "policies", "-y").stdout == shown + REMOVED
    assert maple.recorded() == []


def test_off_a_terminal_a_question_that_is_due_ends_the_run_first(maple: Maple) -> None:
    missing(maple)
    result = maple.home("sync", "policies", code=64)
    assert "the same command with --yes" in result.stderr
    assert len(maple.recorded()) == 2


def test_all_shows_both_sections_though_one_fails(maple: Maple) -> None:
    shown = missing(maple)
    maple.env("libero", "libero:latest")
    result = maple.home("sync", "all", "-y", code=1)
    assert result.stdout.startswith(
        "Starting full sync...\n\n1. Syncing Policies\n"
        + "-" * 50
        + "\n"
        + shown
        + REMOVED
        + "\n✓ Sync complete: Removed 2 policy entries\n\n2. Syncing Environments\n"
        + "-" * 50
        + "\nScanning environments...\nError connecting to Docker: Cannot connect to the Docker daemon at "
    )
    assert "✓ Full sync complete" not in result.stdout
    assert (maple.recorded(), maple.recorded("envs")) == ([], ["libero"])


def test_a_database_that_cannot_be_written_is_said_to_be(maple: Maple) -> None:
    missing(maple)
    if os.geteuid() == 0:
        pytest.skip("root may write everything; tests/stores/registry has the rest")
    (maple.path / "state.db").chmod(0o400)
    maple.path.chmod(0o500)
    result = maple.home("sync", "policies", "-y", code=1)
    maple.path.chmod(0o700)
    assert "Unable to write to database at ~/.maple/state.db" in result.stderr


def test_environments_with_a_real_engine(maple: Maple, images: Images) -> None:

    endpoint = images.engine.endpoint
    anyio.run(images.make, "here")
    maple.env("here", "docker.io/library/here")
    maple.env("libero", "libero:latest")
    shown = (
        "Scanning environments...\n"
        "\n"
        "Found 1 environments with missing Docker images:\n"
        "\n"
        "┌────────┬───────────────┬─────────┐\n"
        "│ Name   │ Image         │ Status  │\n"
        "├────────┼───────────────┼─────────┤\n"
        "│ libero │ libero:latest │ Missing │\n"
        "└────────┴───────────────┴─────────┘\n"
        "\n"
    )
    assert maple.home("sync", "envs", "-y", "--docker-host", endpoint).stdout == shown + "✓ Removed libero\n"
    assert maple.home("sync", "all", "-y", "--docker-host", endpoint).stdout.endswith(
        "2. Syncing Environments\n"
        + "-" * 50
        + "\nScanning environments...\n✓ All environments in database have Docker images\n\n✓ Full sync complete\n"
    )
    maple.home("undo", "last", "--yes")
    assert maple.recorded("envs") == ["here", "libero"]


# -- unknown is not missing ------------------------------------------------------------------------------------------


def test_an_engine_that_is_down_stops_no_check_of_weights(maple: Maple) -> None:
    maple.policy("gone:v1", weights=None)
    assert "Found 1 policies" in maple.home("sync", "policies", "--dry-run").stdout


def test_a_missing_image_is_no_reason_to_drop_weights(maple: Maple, images: Images) -> None:
    maple.policy("openvla:7b", image="nobody/has:this")
    endpoint = images.engine.endpoint
    assert "All policies" in maple.home("sync", "policies", "-y", "--docker-host", endpoint).stdout
    (entry,) = json.loads(maple.home("registry", "ls", "policies", "--json", "--docker-host", endpoint).stdout)[
        "entries"
    ]
    assert (entry["state"], maple.recorded()) == ("present", ["openvla:7b"])
    assert "nobody/has:this (missing)" in maple.home("list", "--docker-host", endpoint).stdout


def test_a_models_root_that_is_not_there_removes_nothing(maple: Maple) -> None:
    maple.policy("openvla:7b")
    maple.models.rename(maple.path / "elsewhere")
    result = maple.home("sync", "policies", "-y", code=1)
    assert "is its volume mounted?" in result.stdout
    assert maple.recorded() == ["openvla:7b"]


def test_all_weights_gone_at_once_is_a_guard_from_ten_on(maple: Maple) -> None:
    for number in range(10):
        maple.policy(f"p{number}:v1")
    shutil.rmtree(maple.models)
    maple.models.mkdir()
    result = maple.home("sync", "policies", "-y", code=5)
    assert "--allow emptied" in result.stderr
    assert len(maple.recorded()) == 10
    maple.home("sync", "policies", "-y", "--allow", "emptied")
    assert maple.recorded() == []


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("model.incomplete", "x", "was interrupted"),
        ("model.safetensors", "short", "model.safetensors"),
        ("model.safetensors.index.json", '{"weight_map": {"a": "model-2.safetensors"}}', "model-2.safetensors"),
    ],
)
def test_damaged_weights_are_neither_present_nor_missing(maple: Maple, name: str, text: str, why: str) -> None:
    maple.policy("openvla:7b", weights=None)
    folder = maple.models / "openvla/7b"
    folder.mkdir(parents=True)
    result = maple.home("sync", "policies", "-y", code=2)
    assert "x damaged       openvla:7b: " in result.stdout, "an empty folder is no weights"
    (folder / name).write_text(text)
    result = maple.home("sync", "policies", "-y", code=2)
    assert why in result.stdout
    assert "maple pull policy openvla:7b" in result.stdout
    assert "All policies" not in result.stdout
    assert maple.recorded() == ["openvla:7b"]


# -- commands of the registry ----------------------------------------------------------------------------------------


def test_what_nobody_recorded_is_shown_and_adopted(maple: Maple) -> None:
    folder = maple.weights("pi0:base")
    assert "* unregistered  pi0:base" in maple.home("sync", "policies").stdout
    maple.home("registry", "adopt")
    ((path, name),) = maple.sql("SELECT path, name FROM policies")
    assert (path, name) == (str(folder), "pi0")
    assert "nothing to adopt" in maple.home("registry", "adopt").stdout
    maple.home("undo", "last", "--yes")
    assert maple.recorded() == []
    maple.home("sync", "policies", "--adopt", "-y")
    assert maple.recorded() == ["pi0:base"]


def test_an_entry_is_added_forgotten_and_brought_back(maple: Maple) -> None:
    maple.home("registry", "add", "env", "libero", "--image", "libero:v1")
    assert maple.recorded("envs") == ["libero"]
    assert "recorded already" in maple.home("registry", "add", "env", "libero", "--image", "x", code=64).stderr
    assert "needs an image" in maple.home("registry", "add", "env", "other", code=64).stderr
    maple.home("registry", "add", "policy", "pi0", "--image", "pi0:v1", "--repo", "hf/pi0")
    assert maple.sql("SELECT name, version, image, repo FROM policies") == [("pi0", "latest", "pi0:v1", "hf/pi0")]
    maple.home("registry", "forget", "pi0")
    assert maple.recorded() == []
    maple.home("undo", "last", "--yes")
    assert maple.sql("SELECT repo FROM policies") == [("hf/pi0",)]


def test_a_name_that_is_not_there_or_is_two_things_is_explained(maple: Maple) -> None:
    maple.policy("libero:latest")
    maple.env("libero", "libero:latest")
    assert "a policy and an environment" in maple.home("registry", "forget", "libero", code=64).stderr
    assert "libero:latest" in maple.home("registry", "forget", "policy", "liber", code=64).stderr
    maple.home("registry", "forget", "env", "libero")
    assert (maple.recorded(), maple.recorded("envs")) == (["libero:latest"], [])


def test_a_policy_is_removed_with_its_weights_and_comes_back(maple: Maple) -> None:
    maple.policy("openvla:7b")
    result = maple.home("remove", "policy", "openvla:7b", "--yes")
    assert "deletes its weights (7 B), to the trash" in result.stdout
    assert (maple.recorded(), (maple.models / "openvla").exists()) == ([], False)
    maple.home("undo", "last", "--yes")
    assert maple.recorded() == ["openvla:7b"]
    assert (maple.models / "openvla/7b/model.bin").read_text() == "weights"
    maple.home("remove", "policy", "openvla:7b", "--keep-weights", "--yes")
    assert (maple.recorded(), (maple.models / "openvla/7b").exists()) == ([], True)


def test_without_the_trash_weights_are_gone_for_good(maple: Maple) -> None:
    maple.policy("openvla:7b")
    result = maple.home("registry", "remove", "openvla:7b", "--delete-files", "--no-trash", "--yes")
    assert "for good" in result.stdout
    assert not list(maple.models.rglob("model.bin"))


def test_a_removal_asks(maple: Maple) -> None:
    maple.policy("openvla:7b")
    assert talk(maple.home, ["remove", "policy", "openvla:7b"], [("Remove policy openvla:7b? [y/N]", b"n\n")])[0] == 3
    assert maple.recorded() == ["openvla:7b"]
    maple.home("remove", "policy", "openvla:7b", code=64)


async def _prepare(images: Images) -> None:
    await images.make("libero")
    await images.make("shared")
    await images.run("libero", "libero-0123abcd")
    await images.run("libero", "libero2-0123abcd")


def test_a_removal_stops_its_own_containers_and_deletes_no_image_that_is_used(maple: Maple, images: Images) -> None:
    anyio.run(_prepare, images)
    endpoint = images.engine.endpoint
    for name, image in (("libero", "libero:latest"), ("libero2", "shared"), ("third", "docker.io/library/shared")):
        maple.env(name, image)
    for name in ("libero", "libero2"):
        maple.sql(
            "INSERT INTO containers VALUES (?, 'env', ?, ?, 'h', 1, 'ready', 1.0, '{}')",
            *(f"{name}-0123abcd", f"{name}-0123abcd", name),
        )
    result = maple.home("remove", "env", "libero", "--delete-image", "--yes", "--docker-host", endpoint)
    assert "stops 1 container: libero-0123a" in result.stdout
    assert "deletes its image libero:latest, to the trash" in result.stdout
    assert running(images) == ["/libero2-0123abcd"]
    assert maple.recorded("envs") == ["libero2", "third"]
    maple.home("undo", "last", "--yes")
    assert "✓ All environments" in maple.home("sync", "envs", "--docker-host", endpoint).stdout
    result = maple.home("registry", "remove", "env", "third", "--delete-image", "--yes", "--docker-host", endpoint)
    assert "keeps its image docker.io/library/shared: env libero2 uses it too" in result.stdout
    assert "✓ All environments" in maple.home("sync", "envs", "--docker-host", endpoint).stdout


def running(images: Images) -> list[str]:
    async def listed() -> bytes:
        return await images.call("GET", "/containers/json")

    return sorted(name for one in json.loads(anyio.run(listed)) for name in one["Names"])


def test_weights_are_verified_by_every_byte(maple: Maple) -> None:
    maple.policy("openvla:7b")
    maple.policy("pi0:base", weights="other")
    assert "✓ 2 policies verified" in maple.home("registry", "verify").stdout
    file = maple.models / "openvla/7b/model.bin"
    before = file.stat()
    file.write_text("WEIGHTS")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000))
    result = maple.home("registry", "verify", "openvla:7b", code=2)
    assert "model.bin is not what was verified before" in result.stdout
    assert "damaged" in maple.home("list", "policies").stdout
    assert maple.recorded() == ["openvla:7b", "pi0:base"]


def test_every_verb_of_trueup_knows_policies(maple: Maple) -> None:
    maple.policy("gone:v1", weights=None)
    assert "r- record    gone:v1" in maple.home("plan", "policies").stdout
    assert "out of sync" in maple.home("status", "policies").stdout
    maple.home("sync", "policies", "-y")
    assert "gone:v1" in maple.home("trash", "ls", "policies").stdout
    assert "no pair of folders" in maple.home("diff", "policies", code=64).stderr
    assert "Cannot connect to the Docker daemon" in maple.home("doctor", "policies", code=1).stdout
    document = json.loads(maple.home("sync", "policies", "--json").stdout)
    assert document["results"][0]["report"]["report"]["ending"] == "in_sync"


def test_a_configured_registry_is_the_one_that_is_meant(maple: Maple) -> None:
    place = maple.home.path / "team"
    maple.path.rename(place)
    maple.home.configure(
        f'[targets.weights]\nkind = "policies"\nregistry = "{place}/state.db"\nroot = "{place}/models"\n'
    )
    (maple.home.path / "team/models/pi0/base").mkdir(parents=True)
    (maple.home.path / "team/models/pi0/base/w").write_text("w")
    assert "pi0:base" in maple.home("sync", "policies").stdout
    assert "unregistered" in maple.home("plan", "weights").stdout
