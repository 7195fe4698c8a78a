"""What a benchmark found: rows with a target, and tables to read."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from .rounds import Figure


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure is to reach."""

    sense: Literal["<=", ">=", ">"]
    bound: float
    unit: str = "x"

    def holds(self, figure: Figure) -> bool:
        """Whether the median reaches it."""
        if self.sense == "<=":
            return figure.median <= self.bound
        return figure.median >= self.bound if self.sense == ">=" else figure.median > self.bound

    def __str__(self) -> str:
        return (
            f"{self.sense} {self.bound:g}{self.unit}"
            if self.unit == "x"
            else f"{self.sense} {self.bound:g} {self.unit}"
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was measured.

    Attributes:
        what: that was measured, and against what.
        figure: None where it could not be measured; `note` says why.
        target: None for a figure that is printed to be read.
        unit: of the figure.
        note: what a reader should know beside it.
    """

    what: str
    figure: Figure | None
    target: Target | None = None
    unit: str = "x"
    note: str = ""

    @property
    def verdict(self) -> str:
        """`holds`, `MISSED`, or nothing."""
        if self.target is None or self.figure is None:
            return ""
        return "holds" if self.target.holds(self.figure) else "MISSED"


@dataclass(frozen=True, slots=True)
class Table:
    """Figures side by side; the first column names the line."""

    title: str
    columns: tuple[str, ...]
    lines: list[tuple[str, ...]]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """All that one benchmark found."""

    name: str
    rows: list[Row] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        rows = [asdict(row) | {"verdict": row.verdict} for row in self.rows]
        return {"name": self.name, "rows": rows, "tables": [asdict(table) for table in self.tables]}
