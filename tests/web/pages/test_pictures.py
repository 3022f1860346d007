"""Small images: what they cost is bounded, whatever a file claims to be."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image

from trueup.web.pages.pictures import MOST_PIXELS, Unshowable, shrunk


def encoded(image: Image.Image, form: str) -> bytes:
    out = io.BytesIO()
    image.save(out, form)
    return out.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG that says that it is so large, in a few bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(100_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "BMP"])
def test_an_image_is_made_small_and_keeps_its_shape(form: str) -> None:
    small = Image.open(io.BytesIO(shrunk(encoded(Image.new("RGB", (400, 200), "red"), form), 160)))
    assert (small.format, small.size) == ("WEBP", (160, 80))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "1"])
def test_every_kind_of_pixel_can_be_shown(mode: str) -> None:
    form = "JPEG" if mode == "CMYK" else "PNG"
    assert Image.open(io.BytesIO(shrunk(encoded(Image.new(mode, (20, 20)), form), 160))).size == (20, 20)


@pytest.mark.parametrize(("width", "height"), [(50_000, 50_000), (MOST_PIXELS + 1, 1), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_not_decoded(width: int, height: int) -> None:
    with pytest.raises(Unshowable):
        shrunk(bomb(width, height), 160)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        b"<svg onload='alert(1)'/>",
        bomb(100, 100)[:60],
        encoded(Image.new("RGB", (9, 9)), "TIFF"),
        b"%!PS",
    ],
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(Unshowable):
        shrunk(data, 160)
