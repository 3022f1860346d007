"""Images as small ones: whatever a file claims to be, it costs a bounded number of bytes, pixels and threads."""

from __future__ import annotations

import io
import warnings
from typing import Annotated

import anyio
from fastapi import APIRouter, Query, Request
from PIL import Image, ImageOps, UnidentifiedImageError
from starlette.responses import Response

from trueup.core.model import Key, Side
from trueup.web.pages.frame import pages
from trueup.web.pages.rows import is_picture
from trueup.web.problems import Problem, not_found
from trueup.web.routes.common import Chosen, Reader, Serving

MOST_BYTES = 32 * 1024 * 1024
"""Of a file that is looked at."""
MOST_PIXELS = 50_000_000
"""That an image may say it has; what is decoded is never larger."""
EDGES = {"small": 160, "large": 800}
"""Longest edge of what is shown, in pixels."""
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP")
"""Decoders that are tried; others are for files that nobody here shows."""
AT_ONCE = 2
"""Images that are decoded at the same time, of all browsers together."""
KEPT_SECONDS = 3600
"""A browser keeps what it has seen under an address that names the version."""

router: APIRouter = pages()
_decoding: anyio.CapacityLimiter | None = None


class Unshowable(ValueError):
    """A file is no image that can be shown; says why."""


def shrunk(data: bytes, edge: int) -> bytes:
    """An image with no edge longer than this, as WebP.

    Raises:
        Unshowable: If it is no image, is damaged, or claims more pixels than `MOST_PIXELS`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `MOST_PIXELS` is lower
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                _refuse_large(image)
                image.draft("RGB", (edge, edge))
                small = ImageOps.exif_transpose(image.convert("RGBA" if "A" in image.getbands() else "RGB"))
                small.thumbnail((edge, edge))
                out = io.BytesIO()
                small.save(out, "WEBP", quality=80)
                return out.getvalue()
    except Unshowable:
        raise
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise Unshowable("it cannot be decoded") from error


def _refuse_large(image: Image.Image) -> None:
    """By what its head says; nothing is decoded yet."""
    if image.width * image.height > MOST_PIXELS:
        raise Unshowable(f"{image.width} x {image.height} are too many pixels")


@router.get("/targets/{target_id}/picture")
async def picture(
    request: Request,
    _: Reader,
    service: Serving,
    target: Chosen,
    side: Annotated[str, Query(max_length=100)],
    key: Annotated[str, Query(max_length=4096)],
    size: Annotated[str, Query(pattern="^(small|large)$")] = "small",
) -> Response:
    """An image that a side holds, made small. The query's `v` only tells versions apart, for the browser."""
    if not is_picture(key) or side not in ("local", "remote"):
        raise not_found("there is no such image")
    async with service.engine() as engine, _one_of_few():
        data = await engine.content(target.spec, Side(side), Key(key), limit=MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise Problem(413, "TU-LIMIT", "the image is too large to be shown")
        try:
            small = await service.threads(shrunk, data, EDGES[size])
        except Unshowable as why:
            raise Problem(415, "TU-REQUEST", "the file is no image that can be shown", why=str(why)) from why
    kept = f"private, max-age={KEPT_SECONDS}" if "v" in request.query_params else "no-store"
    return Response(small, media_type="image/webp", headers={"cache-control": kept})


def _one_of_few() -> anyio.CapacityLimiter:
    """Made when the event loop is there."""
    global _decoding  # one for the process
    if _decoding is None:
        _decoding = anyio.CapacityLimiter(AT_ONCE)
    return _decoding
