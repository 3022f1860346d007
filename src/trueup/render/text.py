"""Lines of text with named styles, and plain tables of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trueup.render.names import pad, width

Span = tuple[str, str]
"""Text, already printable, and the name of its style; the empty name is plain."""

Line = tuple[Span, ...]


def line(text: str = "", style: str = "") -> Line:
    """A line in one style."""
    return ((text, style),)


def plain(lines: Iterable[Line]) -> str:
    """The text alone, each line ended."""
    return "".join("".join(text for text, _ in spans).rstrip() + "\n" for spans in lines)


def columns(rows: Sequence[Sequence[str]], *, widest: int = 60) -> list[int]:
    """Widths that fit every column; a cell wider than `widest` hangs over and does not push the others."""
    if not rows:
        return []
    return [
        max((width(cell) for cell in column if width(cell) <= widest), default=widest)
        for column in zip(*rows, strict=True)
    ]


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> list[Line]:
    """A table with its headers; empty without rows.

    Args:
        headers: One word for each column.
        rows: Printable cells.
        right: Indexes of the columns that are flushed right.
    """
    if not rows:
        return []
    widths = columns([headers, *rows])
    return [((_row(headers, widths, right), "bold"),), *(line(_row(row, widths, right)) for row in rows)]


def boxed(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Line]:
    """A table with lines around its cells; no cell hangs over."""
    widths = [max(width(cell) for cell in column) for column in zip(headers, *rows, strict=True)]

    def rule(left: str, middle: str, right: str) -> Line:
        return line(left + middle.join("─" * (wide + 2) for wide in widths) + right)

    def cells(row: Sequence[str]) -> str:
        return "│ " + " │ ".join(pad(cell, wide) for cell, wide in zip(row, widths, strict=True)) + " │"

    head: Line = ((cells(headers), "bold"),)
    return [rule("┌", "┬", "┐"), head, rule("├", "┼", "┤"), *(line(cells(row)) for row in rows), rule("└", "┴", "┘")]


def _row(cells: Sequence[str], widths: Sequence[int], right: Sequence[int]) -> str:
    placed = [
        " " * max(0, wide - width(cell)) + cell if index in right else pad(cell, wide)
        for index, (cell, wide) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(placed).rstrip()
