"""The table: each measure with the floor under which it is not good enough, the aim, and what was reached."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

Verdict = Literal["aim", "ok", "below", "skipped", ""]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One line. ``reached`` None: not measured, and ``remark`` says why; a row without a floor is for information.

    ``is_noisy``: the machine was never quiet while it was measured, so the verdict is worth little.
    """

    measure: str
    reached: float | None
    unit: str = ""
    floor: float | None = None
    aim: float | None = None
    is_more_better: bool = False
    digits: int = 1
    gates: str = ""
    is_noisy: bool = False
    remark: str = ""

    @property
    def verdict(self) -> Verdict:
        """How the figure stands to floor and aim."""
        if self.reached is None:
            return "skipped"
        if self.floor is None:
            return ""
        if self.aim is not None and self._is_within(self.aim):
            return "aim"
        return "ok" if self._is_within(self.floor) else "below"

    def _is_within(self, bound: float) -> bool:
        assert self.reached is not None
        return self.reached >= bound if self.is_more_better else self.reached <= bound

    def shown(self, value: float | None) -> str:
        """A figure of this row with its unit."""
        if value is None:
            return "-"
        return f"{value:,.{self.digits}f}{self.unit}"


def render(rows: Sequence[Row]) -> str:
    """The table as text."""
    head = ("measure", "floor", "aim", "reached", "", "gates", "")
    cells = [head] + [
        (
            row.measure,
            _bound(row, row.floor),
            _bound(row, row.aim),
            row.shown(row.reached),
            _verdict(row),
            row.gates,
            row.remark,
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    lines = []
    for line in cells:
        parts = [
            text.rjust(width) if 1 <= column <= 3 else text.ljust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append("  ".join(parts).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def _verdict(row: Row) -> str:
    shown = {"aim": "ok, aim", "ok": "ok", "below": "BELOW", "skipped": "skipped", "": ""}[row.verdict]
    return f"{shown} (noisy)" if row.is_noisy and row.reached is not None and shown else shown


def _bound(row: Row, bound: float | None) -> str:
    return "-" if bound is None else f"{'≥' if row.is_more_better else '≤'} {row.shown(bound)}"


def document(row: Row) -> dict[str, object]:
    """The row for a machine to read."""
    return {**dataclasses.asdict(row), "verdict": row.verdict}


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares: how much the second value grows for one of the first. Needs two different points."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    assert spread, "two different points are needed"
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
