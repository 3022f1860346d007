"""The document's button and a plain target, with a real bucket on the other side."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.actors import ID, NAME, Actor, md5
from tests.services import Service
from tests.web.server import Served

from trueup.testing.engines import KEYS
from trueup.testing.sigv4 import call

pytestmark = pytest.mark.engine

BUCKET = "served"


@pytest.fixture
def bucket(strong_s3: Service, monkeypatch: pytest.MonkeyPatch) -> str:
    """Its endpoint; the server that a test starts has the keys to it."""
    assert call(strong_s3.endpoint, KEYS, "PUT", f"/{BUCKET}").status in (200, 409)
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", strong_s3.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS.secret_key)
    return strong_s3.endpoint


def held(endpoint: str, key: str) -> bytes:
    return call(endpoint, KEYS, "GET", f"/{BUCKET}/{key}").body


def test_training_data_and_a_target_on_a_real_bucket(bucket: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    actor = Actor(home)
    actor.configure()
    text = (home / "trueup.toml").read_text().replace(str(home / "remote"), f"s3://{BUCKET}/actors")
    text += f'[targets.site]\nkind = "folder"\nlocal = "site"\nremote = "s3://{BUCKET}/site"\n'
    (home / "trueup.toml").write_text(text)
    (home / "site").mkdir()
    (home / "site" / "a").write_text("one")
    actor.put(actor.local, "a.png", "a")
    assert call(bucket, KEYS, "PUT", f"/{BUCKET}/actors/{NAME}/b.png", body=b"b").status == 200
    server = Served(home, tmp_path / "state").start()
    try:
        client = server.client()
        path = f"/api/actors/{ID}/training-data/comprehensive-sync"
        done = client.post(path, json={"actor_name": NAME}).json()
        assert (done["uploaded"], done["downloaded"], done["added_to_manifest"], done["errors"]) == (1, 1, 2, [])
        assert held(bucket, f"actors/{NAME}/a.png") == b"a"
        assert actor.recorded()["b.png"]["md5_hash"] == md5("b")
        run = client.run("/targets/site/sync")
        assert (run["state"], held(bucket, "site/a")) == ("succeeded", b"one")
        assert client.run(f"/runs/{run['id']}/undo")["state"] == "succeeded"
        assert b"NoSuchKey" in held(bucket, "site/a")
        assert [one["key"] for one in client.ask("GET", "/targets/site/trash")["items"]] == ["a"]
    finally:
        server.stop()
