"""A folder of models, with weights as they are pulled."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from anyio import to_thread

from trueup.core.model import Key, Kind, Row, key_from_bytes
from trueup.engine.ambient import Ambient
from trueup.protocols import Opening
from trueup.stores.weights import WeightsStore

OPENVLA = Key("openvla:7b")


def tensors(header: Mapping[str, object], data: bytes) -> bytes:
    """A safetensors file."""
    raw = json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + data


WHOLE = tensors(
    {
        "__metadata__": {"format": "pt"},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
        "a": {"dtype": "I16", "shape": [2, 1], "data_offsets": [0, 4]},
    },
    bytes(range(12)),
)


@dataclass
class Models:
    """A folder of models, and what is recorded."""

    root: Path
    store: WeightsStore = field(init=False)
    recorded: dict[Key, Path | None] = field(default_factory=dict)

    def pull(self, key: Key = OPENVLA, files: Mapping[str, bytes] | None = None, *, root: Path | None = None) -> Path:
        """Weights: by default one whole file and its configuration."""
        name, _, version = key.partition(":")
        folder = (root or self.root) / name / version
        folder.mkdir(parents=True, exist_ok=True)
        for file, data in (files or {"model.safetensors": WHOLE, "config.json": b"{}"}).items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(data)
        return folder

    def rows(self) -> dict[Key, Row]:
        return {key_from_bytes(row[0]): row for row in self.store.rows()}

    def seen(self) -> dict[Key, tuple[Kind, str]]:
        return {key: (row[2], row[6]) for key, row in self.rows().items()}

    async def one(self, key: Key = OPENVLA) -> Row:
        return (await to_thread.run_sync(self.rows))[key]


@pytest.fixture
def models(tmp_path: Path) -> Models:
    root = tmp_path / "models"
    root.mkdir()
    ambient = Ambient()
    opening = Opening(ambient.clock, ambient.threads, ambient.unique, remember={})
    models = Models(root)
    models.store = WeightsStore(str(root), opening, lambda: models.recorded)
    return models
