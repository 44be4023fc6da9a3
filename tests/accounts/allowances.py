"""A gateway worker's side of the SQL functions, with plain numbers."""

import dataclasses
import itertools
import json
from typing import Any

import psycopg

DAY = (20_000 * 86_400, 20_001 * 86_400)


@dataclasses.dataclass
class Worker:
    """One boot that speaks to the database as the gateway does."""

    connection: psycopg.Connection
    boot_id: str
    numbers: Any = dataclasses.field(default_factory=lambda: itertools.count(1))
    until_us: int = 0

    def ask(self, subject: str, *, number: int | None = None, measure: str = "tokens", **row: int | str) -> list[int]:
        """One allowance in one call. Returns [amount, room, capacity, others], or nothing where there is no limit."""
        rows = self.ask_many([{"subject": subject, "measure": measure, **row}], number=number)
        return rows[0][1:] if rows else []

    def ask_many(self, asked: list[dict[str, Any]], *, number: int | None = None) -> list[list[int]]:
        """Many allowances in one call."""
        basis = {"window": "day", "starts": DAY[0], "ends": DAY[1], "spent": 0, "given": 0, "enough": 0, "target": 0}
        rows = [{**basis, "call": False, "n": n, **row} for n, row in enumerate(asked)]
        answer = self.connection.execute(
            "SELECT gateway_lease(%s, %s, %s, %s)",
            (self.boot_id, next(self.numbers) if number is None else number, self.until_us, json.dumps(rows)),
        ).fetchone()
        assert answer is not None
        found: list[list[int]] = answer[0]["rows"]
        return sorted(found)
