"""Take the picture of the README: run the real commands on real files, and write what they print as an SVG.

Usage: ``python docs/picture.py [--check]``; with ``--check`` fail if the picture shows something else than the command.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import subprocess
import sys
import tempfile
import time
from html import unescape
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

PICTURE = Path(__file__).parent / "images" / "plan.svg"
COLUMNS = 96

_CONFIG = """\
[targets.site]
kind = "folder"
local = "site"
remote = "share"
deletes = "propagate"
"""

_THEME = TerminalTheme(
    (30, 34, 42),
    (208, 212, 220),
    [
        (30, 34, 42),
        (240, 113, 120),
        (152, 195, 121),
        (229, 192, 123),
        (97, 175, 239),
        (214, 140, 235),
        (86, 198, 214),
        (208, 212, 220),
    ],
    [(160, 168, 180)] * 8,
)
"""Dark, and each colour at least 6:1 against the ground."""

CELL = 12.2
"""How wide one letter is, in the units of the picture."""

_TEXT = re.compile(
    r'(?P<head><text class="plan-r\d+" )x="(?P<x>[\d.]+)" y="(?P<y>[\d.]+)" textLength="[\d.]+"(?P<tail>[^>]*)>'
    r"(?P<text>[^<]*)</text>"
)

_FONTS = 'ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace'


def main() -> int:
    """Write the picture, or compare it."""
    parser = argparse.ArgumentParser(description="Take the picture of the README.")
    parser.add_argument("--check", action="store_true", help="fail if the picture is out of date")
    arguments = parser.parse_args()
    svg = drawn(printed())
    if arguments.check:
        if PICTURE.read_text("utf-8") == svg:
            return 0
        print(f"{PICTURE.name} is out of date. Try: make docs")
        return 1
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(svg, "utf-8")
    return 0


def printed() -> str:
    """What a plan looks like on a terminal, after a day's work on both sides."""
    with tempfile.TemporaryDirectory(prefix="trueup-picture-") as folder:
        home = Path(folder).resolve()
        (home / "trueup.toml").write_text(_CONFIG)
        _write(home / "site", {"index.html": 3200, "prices.txt": 410, "pages/tea.html": 5100, "pages/old.html": 900})
        _write(home / "site", {f"pages/{n}.html": 2000 + n for n in range(40)})
        _write(home / "share", {"photos/cup.jpg": 184_000, "photos/pot.jpg": 212_000})
        _trueup(home, "sync", "site", "--yes")
        _write(home / "site", {"index.html": 3350, "prices.txt": 420, "pages/coffee.html": 4700})
        _write(home / "share", {"prices.txt": 432, "photos/cake.jpg": 1_240_000, "pages/tea.html": 5230})
        (home / "site" / "pages" / "old.html").unlink()
        (home / "site" / "latest").symlink_to("pages/coffee.html")
        plan = _trueup(home, "plan", "site", "--color", "always")
        plan = plan.replace(str(home / "site"), "~/site").replace(str(home / "share"), "/mnt/share")
        # Versions hold inodes and times, so this digest would be another one every time.
        return re.sub(r"(?<=plan )[0-9a-f]{16}", "5f0c2a9d71e64b38", plan)


def _write(folder: Path, files: dict[str, int]) -> None:
    """Write files of these sizes that have been there for a while."""
    then = time.time() - 3600
    for name, size in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((f"{name} {size} " * size).encode()[:size])
        os.utime(path, (then, then))


def _trueup(home: Path, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603  # ourselves
        [sys.executable, "-m", "trueup", *arguments],
        cwd=home,
        env={**os.environ, "TRUEUP_STATE": str(home / "state"), "NO_COLOR": ""},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 4):
        raise SystemExit(f"trueup {' '.join(arguments)} ended with {done.returncode}")
    return done.stdout


def drawn(plan: str) -> str:
    """Coloured output as the picture of a terminal."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(Text.assemble(("$ ", "bright_black"), ("trueup plan site", "bold")))
    # What a terminal dims would be too faint here.
    console.print(Text.from_ansi(plan.rstrip().replace("\x1b[2m", "\x1b[90m") + "\n"), soft_wrap=True)
    # Fonts of the reader's machine: a picture must not load anything from elsewhere.
    form = re.sub(r"@font-face \{\{.*?\n    \}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    form = re.sub(r"font-family: (Fira Code, monospace|arial);", f"font-family: {_FONTS};", form)
    svg = console.export_svg(title="trueup plan site", theme=_THEME, code_format=form, unique_id="plan")
    svg = _TEXT.sub(_placed, svg)
    return "".join(line.rstrip() + "\n" for line in svg.splitlines())


def _placed(match: re.Match[str]) -> str:
    """One piece of text where its first letter is: some programs swallow the blanks that it begins with."""
    text = match["text"].replace("&#160;", "\xa0").rstrip("\xa0\n")
    blanks = len(text) - len(text.lstrip("\xa0"))
    text = text.lstrip("\xa0")
    if not text:
        return ""
    x = float(match["x"]) + blanks * CELL
    length = len(unescape(text)) * CELL
    written = text.replace("\xa0", "&#160;")
    return f'{match["head"]}x="{x:g}" y="{match["y"]}" textLength="{length:g}"{match["tail"]}>{written}</text>\n'


if __name__ == "__main__":
    sys.exit(main())
