"""How static files are served: on a real S3 service."""

from __future__ import annotations

import anyio.to_thread
import pytest
from tests.services import Service

from trueup.api.content.serving import headers
from trueup.core.model import Key
from trueup.protocols import Headers, Source
from trueup.stores.object.transfer import SMALL_BYTES
from trueup.targets import Static
from trueup.testing.engines import KEYS
from trueup.testing.sigv4 import call


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.css", "text/css; charset=utf-8"),
        ("deep/a.min.JS", "text/javascript; charset=utf-8"),
        ("a.woff2", "font/woff2"),
        ("a.tar.gz", "application/gzip"),
        ("a.odd", "application/octet-stream"),
        ("css", "application/octet-stream"),
        ("a.glb", "model/gltf-binary"),
        ("a.svg", "image/x"),
    ],
)
def test_the_suffix_says_the_type(name: str, kind: str) -> None:
    of = headers(Static(types=(".glb=model/gltf-binary", ".SVG=image/x")))
    assert of(Key(name)).content_type == kind


def test_what_is_not_to_be_cached_is_asked_about() -> None:
    of = headers(Static(cache_control="public, max-age=9", uncached=("*.html", "/sw.js")))
    found = {name: of(Key(name)).cache_control for name in ("a.css", "a.html", "sw.js", "deep/sw.js")}
    assert found == {
        "a.css": "public, max-age=9",
        "a.html": "no-cache",
        "sw.js": "no-cache",
        "deep/sw.js": "public, max-age=9",
    }


@pytest.mark.engine
@pytest.mark.parametrize("size", [10, SMALL_BYTES + 1])
async def test_a_bucket_serves_with_the_headers_that_it_was_told(strong_s3: Service, size: int) -> None:
    store = strong_s3.store(f"served-{size}", headers=lambda _: Headers("text/css; charset=utf-8", "no-cache"))
    data = b"x" * size

    def source() -> Source:
        from contextlib import nullcontext

        return Source(lambda: nullcontext(iter([data])), size)

    await store.write(Key("a.css"), source(), expect=None, trash=None)
    path = f"/{strong_s3.bucket}/served-{size}/a.css"
    answer = await anyio.to_thread.run_sync(call, strong_s3.endpoint, KEYS, "HEAD", path)
    told = {name.lower(): value for name, value in answer.headers.items()}
    assert (told["content-type"], told["cache-control"]) == ("text/css; charset=utf-8", "no-cache")
    assert "x-amz-meta-trueup-blake3" in told
