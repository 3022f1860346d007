"""What a look at weights says: whole, damaged, absent, unknown; never one for another."""

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.stores.weights.conftest import OPENVLA, WHOLE, Models, tensors

from trueup.core.errors import AccessDenied, StoreError, Unavailable
from trueup.core.model import OPAQUE_TOKEN, Key, Kind
from trueup.engine.ambient import Ambient
from trueup.protocols import Opening
from trueup.stores.weights import WeightsStore, folder, safetensors

FILE = (Kind.FILE, "")


def test_whole_weights_are_a_file_of_their_size(models: Models) -> None:
    models.pull()
    models.recorded[OPENVLA] = None
    (row,) = models.rows().values()
    assert row[2:4] == (Kind.FILE, len(WHOLE) + 2)
    assert row[6] == ""
    assert models.rows() == {OPENVLA: row}


async def test_one_is_looked_at_as_all_are(models: Models) -> None:
    models.pull()
    row = await models.one()
    entry = await models.store.stat(OPENVLA)
    assert entry is not None
    assert (entry.token, entry.content.kind, entry.content.size) == (row[1], row[2], row[3])
    assert await models.store.stat(Key("openvla:8b")) is None
    (models.root / "openvla" / "7b" / "x.part").touch()
    entry = await models.store.stat(OPENVLA)
    assert entry is not None
    assert entry.content.kind is Kind.DAMAGED
    with pytest.raises(StoreError, match="not a possible folder"):
        await models.store.stat(Key("..:7b"))


def test_the_token_is_of_everything_that_tells_an_edit() -> None:
    file = folder.File("a", 1, 2, 3, 4)
    others = [{"name": "b"}, {"size": 9}, {"modified_ns": 9}, {"changed_ns": 9}, {"inode": 9}]
    looks = [[file], [], [file, file], *([replace(file, **other)] for other in others)]  # type: ignore[arg-type]
    assert len({folder.Look("/", files).token for files in looks}) == len(looks)


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({".gitattributes": b"", "README.md": b""}, "empty"),
        ({"config.json": b"{}", "model.bin": b""}, "model.bin is empty"),
        ({"model.safetensors": WHOLE, "a/b.bin.part": b"1"}, "the download of a/b.bin.part was interrupted"),
        (
            {"model.safetensors": WHOLE, ".cache/huggingface/download/x.incomplete": b"1"},
            "the download of .cache/huggingface/download/x.incomplete was interrupted",
        ),
        ({"model.safetensors": WHOLE[:-1]}, "model.safetensors is cut off: 11 bytes of tensors, 12 in its header"),
        ({"x/model.safetensors": b"12345"}, "x/model.safetensors is cut off: 5 bytes"),
        (
            {
                "a.safetensors": WHOLE,
                "model.safetensors.index.json": json.dumps({"weight_map": {"t": "b.st"}}).encode(),
            },
            "model.safetensors.index.json speaks of b.st, which is not there",
        ),
        (
            {"sub/model.bin.index.json": b'{"weight_map": {"t": "1.bin", "u": "2.bin", "v": "1.bin"}}', "1.bin": b"1"},
            "sub/model.bin.index.json speaks of 1.bin and 1 more, which is not there",
        ),
        (
            {"a.index.json": b'{"weight_map": {"t": "../../../secret"}}'},
            "a.index.json speaks of ../../../secret, which",
        ),
        ({"a.index.json": b'{"weight_map": '}, "a.index.json is an index that cannot be read"),
        ({"a.index.json": b'{"weight_map": {"a": ["b"]}}'}, "a.index.json is an index that cannot be read"),
        ({"a.index.json": b"[" * 100_000}, "a.index.json is an index that cannot be read"),
    ],
)
def test_damage_is_seen_and_said(models: Models, files: dict[str, bytes], why: str) -> None:
    models.pull(files=files)
    for recorded in ({}, {OPENVLA: None}):
        models.recorded = dict(recorded)
        ((kind, said),) = models.seen().values()
        assert kind is Kind.DAMAGED
        assert said.startswith(why)


@pytest.mark.parametrize(
    "files",
    [
        {"sub/a.index.json": b'{"weight_map": {"t": "1.bin"}}', "sub/1.bin": b"1"},
        {"faiss.index.json": b'{"version": 1}'},
        {"__init__.py": b"", "model.bin": b"1", ".cache/huggingface/download/x.metadata": b"1"},
    ],
)
def test_what_only_looks_like_damage(models: Models, files: dict[str, bytes]) -> None:
    models.pull(files=files)
    assert models.seen() == {OPENVLA: FILE}


def test_an_empty_folder_is_damaged_and_not_absent(models: Models) -> None:
    (models.root / "openvla" / "7b").mkdir(parents=True)
    models.recorded[OPENVLA] = None
    assert models.seen() == {OPENVLA: (Kind.DAMAGED, "empty")}


def test_what_the_downloader_notes_for_itself_does_not_count(models: Models) -> None:
    pulled = models.pull()
    before = models.rows()
    (pulled / ".cache/huggingface").mkdir(parents=True)
    (pulled / ".cache/huggingface/x.metadata").write_bytes(b"noted")
    assert models.rows() == before


def test_links_inside(models: Models, tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(WHOLE)
    pulled = models.pull(files={"config.json": b"{}"})
    (pulled / "model.safetensors").symlink_to(blob)
    (pulled / "ring").symlink_to(pulled)
    assert models.rows()[OPENVLA][2:4] == (Kind.FILE, len(WHOLE) + 2)
    blob.unlink()
    assert models.seen() == {OPENVLA: (Kind.DAMAGED, "model.safetensors is a link that leads nowhere")}


def test_a_pipe_does_not_hang_the_look(models: Models) -> None:
    os.mkfifo(models.pull() / "more.safetensors")
    assert models.seen() == {OPENVLA: (Kind.DAMAGED, "more.safetensors is not a file")}


def test_a_folder_of_too_many_files_is_unknown(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    models.pull()
    monkeypatch.setattr(folder, "MOST_FILES", 1)
    assert models.seen()[OPENVLA][0] is Kind.UNREADABLE


# -- absent, or not known ---------------------------------------------------------------------------------------------


def test_absence_needs_a_root_that_is_there(models: Models) -> None:
    models.recorded[OPENVLA] = None
    assert models.seen() == {}
    models.pull(Key("openvla:8b"))
    assert set(models.seen()) == {"openvla:8b"}
    models.root.rename(models.root.with_name("gone"))
    with pytest.raises(Unavailable, match=r"models root .* cannot be read - .*mounted") as caught:
        models.rows()
    assert "--models-root" in caught.value.attempt
    models.root.touch()
    with pytest.raises(Unavailable, match="Not a directory"):
        models.rows()


def test_where_nothing_is_recorded_there_need_be_no_root(models: Models) -> None:
    models.root.rmdir()
    assert models.seen() == {}
    models.root.symlink_to("/nowhere/at/all")
    with pytest.raises(Unavailable):
        models.rows()


async def test_one_is_unknown_too_without_its_root(models: Models) -> None:
    models.recorded[OPENVLA] = None
    await to_gone(models)
    with pytest.raises(Unavailable):
        await models.store.stat(OPENVLA)


async def to_gone(models: Models) -> None:
    models.root.rmdir()


@pytest.mark.parametrize("level", ["openvla", "openvla/7b"])
def test_a_link_that_leads_nowhere_is_unknown(models: Models, tmp_path: Path, level: str) -> None:
    models.recorded[OPENVLA] = None
    link = models.root / level
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(tmp_path / "unmounted")
    assert models.seen()[OPENVLA][0] is Kind.UNREADABLE
    models.recorded.clear()
    assert {kind for kind, _ in models.seen().values()} == {Kind.UNREADABLE}


def test_a_link_to_an_empty_mount_point_is_unknown(models: Models, tmp_path: Path) -> None:
    models.recorded[OPENVLA] = None
    (tmp_path / "volume").mkdir()
    (models.root / "openvla").symlink_to(tmp_path / "volume")
    assert models.seen() == {OPENVLA: (Kind.UNREADABLE, f"{models.root}/openvla/7b: its volume may not be mounted")}
    models.pull()
    assert models.seen() == {OPENVLA: FILE}


@pytest.mark.parametrize(
    "key",
    ["..:7b", "openvla:..", "a/b:v", "openvla:../../x", ":v", "openvla:", "openvla", "a\0b:v", ".trueup:trash", "."],
)
def test_hostile_names_lead_nowhere(models: Models, key: str) -> None:
    models.pull(Key("x:y"), root=models.root.parent)
    models.recorded[Key(key)] = None
    ((kind, why),) = models.seen().values()
    assert kind is Kind.UNREADABLE
    assert "not a possible folder" in why


def test_a_name_that_no_file_system_takes_is_unknown(models: Models) -> None:
    key = Key("a" * 300 + ":v")
    models.recorded[key] = None
    assert models.seen()[key][0] is Kind.UNREADABLE


def test_what_nobody_has_recorded_is_shown(models: Models) -> None:
    models.pull()
    models.pull(Key("smolvla:v1"), {"model.safetensors": WHOLE[:20]})
    (models.root / "README.md").touch()
    (models.root / "openvla" / "notes.txt").touch()
    (models.root / ".locks" / "x").mkdir(parents=True)
    (models.root / "openvla" / ".cache" / "x").mkdir(parents=True)
    seen = models.seen()
    assert {key: kind for key, (kind, _) in seen.items()} == {OPENVLA: Kind.FILE, "smolvla:v1": Kind.DAMAGED}
    models.pull(Key("a:b"))
    (models.root / "a").rename(models.root / "a:c")
    assert models.seen()[Key("a:c:b")][0] is Kind.UNREADABLE


# -- recorded elsewhere -----------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    (tmp_path / "volume" / "other").mkdir(parents=True)
    return tmp_path / "volume"


def test_weights_are_found_where_the_record_says(models: Models, elsewhere: Path) -> None:
    models.recorded[OPENVLA] = elsewhere / "openvla" / "7b"
    assert models.seen() == {}
    models.pull(root=elsewhere)
    assert models.seen() == {OPENVLA: FILE}
    (elsewhere / "openvla" / "7b" / "x.part").touch()
    assert models.seen()[OPENVLA][0] is Kind.DAMAGED
    models.pull()
    assert models.seen() == {OPENVLA: FILE}
    models.pull(files={"x.incomplete": b""})
    assert models.seen()[OPENVLA][1] == "the download of x.incomplete was interrupted"


def test_a_recorded_place_that_may_be_unmounted_is_unknown(models: Models, elsewhere: Path) -> None:
    models.recorded[OPENVLA] = elsewhere / "openvla" / "7b"
    (elsewhere / "other").rmdir()
    assert models.seen() == {OPENVLA: (Kind.UNREADABLE, f"{elsewhere}/openvla/7b: its volume may not be mounted")}
    elsewhere.rmdir()
    assert models.seen()[OPENVLA][0] is Kind.UNREADABLE
    models.recorded[OPENVLA] = elsewhere / "weights"
    assert models.seen()[OPENVLA][0] is Kind.UNREADABLE
    models.pull()
    assert models.seen() == {OPENVLA: FILE}


def test_a_recorded_place_inside_the_root_is_not_shown_twice(models: Models) -> None:
    models.recorded[Key("openvla:latest")] = models.pull()
    assert models.seen() == {"openvla:latest": FILE}
    models.recorded[OPENVLA] = None
    assert models.seen() == {"openvla:latest": FILE, OPENVLA: FILE}


@pytest.mark.parametrize("path", ["models/x", "", "a\0b"])
def test_a_recorded_path_that_is_none_counts_for_nothing(models: Models, path: str) -> None:
    models.recorded[OPENVLA] = Path(path)
    assert models.seen() == {}


def test_a_single_file_may_be_the_weights(models: Models, elsewhere: Path) -> None:
    models.recorded[OPENVLA] = elsewhere / "model.safetensors"
    (elsewhere / "model.safetensors").write_bytes(WHOLE)
    assert models.seen() == {OPENVLA: FILE}
    (elsewhere / "model.safetensors").write_bytes(WHOLE[:-2])
    assert models.seen()[OPENVLA][0] is Kind.DAMAGED


# -- permissions ------------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(request: pytest.FixtureRequest) -> Iterator[Models]:
    """A folder of models seen by somebody whom permissions hold back."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        ambient = Ambient()
        models = Models(Path(directory) / "models")
        opening = Opening(ambient.clock, ambient.threads, ambient.unique)
        models.store = WeightsStore(str(models.root), opening, lambda: models.recorded)
        models.pull()
        models.recorded[OPENVLA] = None
        yield models
        for folder in (models.root, models.root / "openvla", models.root / "openvla" / "7b"):
            folder.chmod(0o755)


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


@pytest.mark.parametrize("level", ["openvla", "openvla/7b", "openvla/7b/model.safetensors"])
def test_what_must_not_be_read_is_unknown(guarded: Models, level: str, request: pytest.FixtureRequest) -> None:
    (guarded.root / level).chmod(0)
    request.getfixturevalue("nobody")
    kind, why = guarded.seen()[OPENVLA]
    assert kind is Kind.UNREADABLE
    assert "Permission denied" in why


def test_a_root_that_must_not_be_read(guarded: Models, request: pytest.FixtureRequest) -> None:
    guarded.root.chmod(0)
    request.getfixturevalue("nobody")
    with pytest.raises(AccessDenied, match="no permission to look into the models root") as caught:
        guarded.rows()
    assert "ls -ld" in caught.value.attempt


# -- safetensors ------------------------------------------------------------------------------------------------------


def one(offsets: object, **more: object) -> bytes:
    return tensors({"t": {"dtype": "U8", "shape": [4], "data_offsets": offsets, **more}}, bytes(4))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is cut off: 0 bytes"),
        ((1 << 60).to_bytes(8, "little") + b"{}", "has no possible header"),
        ((100).to_bytes(8, "little") + b"{}", "is cut off: its header alone ends at byte 108, the file at 10"),
        ((2).to_bytes(8, "little") + b"{]", "has a header that cannot be read"),
        ((2).to_bytes(8, "little") + b"[]", "has a header that cannot be read"),
        ((2).to_bytes(8, "little") + b"\xff\xff", "has a header that cannot be read"),
        (tensors({"t": {}}, b""), "has a header that cannot be read"),
        (one([0, 4]) + b"x", "is 1 bytes longer than its header says"),
        (one([0, 4])[:-3], "is cut off: 1 bytes of tensors, 4 in its header"),
        (one([1, 4]), "says what cannot be of the tensor t"),
        (one([4, 0]), "says what cannot be of the tensor t"),
        (one([0, 4], shape=[5]), "says what cannot be of the tensor t"),
        (one([0, 4, 4]), "has a header that cannot be read"),
        (one([0, 4], dtype="F4", shape=[8]), None),
        (tensors({}, b""), None),
        (WHOLE, None),
    ],
)
def test_a_safetensors_file_by_its_header(tmp_path: Path, data: bytes, why: str | None) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    with path.open("rb") as file:
        said = safetensors.problem(file, len(data))
    assert said == why if why is None else said is not None and said.startswith(why)


@given(st.binary(max_size=200), st.integers(0, len(WHOLE) - 1))
def test_no_bytes_make_the_look_fail(noise: bytes, at: int) -> None:
    for data in (noise, WHOLE[:at] + noise):
        safetensors.problem(BytesIO(data), len(data))
    assert safetensors.problem(BytesIO(WHOLE[:at]), at) is not None


def test_unreadable_rows_have_no_version(models: Models) -> None:
    models.recorded[Key("..:v")] = None
    assert [row[1] for row in models.rows().values()] == [OPAQUE_TOKEN]
