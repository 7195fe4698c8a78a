"""Results as plain text that is Markdown, too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from .results import Row, Section, Table
from .rounds import Figure

ROW_COLUMNS = ("", "target", "median", "range", "", "")

FIGURES: Final = re.compile(r"(?<=<!-- figures).*(?=<!-- end of figures -->)", re.DOTALL)


def put_into_page(page: Path, figures: str) -> None:
    """Put figures, one level of headings lower, between the marks in a page."""
    lower = re.sub(r"^#", "##", figures, flags=re.MULTILINE)
    page.write_text(FIGURES.sub(lambda old: f"{old[0].splitlines()[0]}\n\n{lower}\n", page.read_text()))


def number(value: float) -> str:
    """Give a number about three significant digits."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def spread(figure: Figure) -> str:
    """Give the median and the range."""
    return f"{number(figure.median)} [{number(figure.low)}-{number(figure.high)}]"


def section_text(section: Section) -> str:
    """Lay out one section."""
    parts = [f"## {section.name}"]
    if section.rows:
        parts.append(grid(ROW_COLUMNS, [_cells(row) for row in section.rows]))
    parts += [table_text(table) for table in section.tables]
    return "\n\n".join(parts) + "\n"


def table_text(table: Table) -> str:
    """Lay out one table under its title."""
    note = f"\n\n{table.note}" if table.note else ""
    return f"### {table.title}\n\n{grid(table.columns, table.lines)}{note}"


def grid(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Lay out cells in columns of equal width."""
    table = [columns, *lines]
    widths = [max(len(line[i]) for line in table) for i in range(len(columns))]
    laid_out = [_line(line, widths) for line in table]
    laid_out.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(laid_out)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"


def _cells(row: Row) -> tuple[str, ...]:
    target = "" if row.target is None else str(row.target)
    if row.figure is None:
        return row.what, target, "-", "", "", row.note
    unit = f" {row.unit}" if row.unit not in {"x", ""} else row.unit
    median, low, high = (number(value) for value in (row.figure.median, row.figure.low, row.figure.high))
    return row.what, target, f"{median}{unit}", f"{low}-{high}", row.verdict, row.note
