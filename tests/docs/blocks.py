"""The code blocks of a document."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(document: Path, language: str) -> Iterator[str]:
    """Every block of a language, in order."""
    for match in _BLOCK.finditer(document.read_text("utf-8")):
        if match[1] == language:
            yield match[2]


def unpack(document: Path, folder: Path) -> list[Path]:
    """Write the Python blocks of a document to the files that their first lines name; blocks of one file are joined.

    Returns:
        The files, in the order in which they are first named.
    """
    files: dict[Path, str] = {}
    for block in blocks(document, "python"):
        first, _, rest = block.partition("\n")
        name, text = (first.removeprefix("# file: "), rest) if first.startswith("# file: ") else ("example.py", block)
        path = folder / name
        files[path] = files[path] + "\n\n" + text if path in files else text
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return list(files)
