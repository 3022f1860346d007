"""Folders to measure on."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

FILES_PER_FOLDER = 200
PIECE = 1024 * 1024


def make_tree(root: Path, files: int, *, size: int) -> None:
    """Files of random bytes, a few hundred to a folder, two folders deep; equal for equal arguments."""
    rng = Random(f"{files} {size}")
    seconds = 1_700_000_000
    for n in range(0, files, FILES_PER_FOLDER):
        folder = root / f"{n // FILES_PER_FOLDER % 20:02d}" / f"{n // FILES_PER_FOLDER:05d}"
        folder.mkdir(parents=True)
        for i in range(n, min(files, n + FILES_PER_FOLDER)):
            path = folder / f"image-{i:06d}.dat"
            descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o644)
            for begin in range(0, size, PIECE):
                os.write(descriptor, rng.randbytes(min(PIECE, size - begin)))
            os.utime(descriptor, (seconds + i, seconds + i))
            os.close(descriptor)
