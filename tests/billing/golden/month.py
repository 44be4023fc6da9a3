"""The golden month: October 2026 of one organization, 10,000 requests and 120 intervals of replica time.

``python -m tests.billing.golden.month`` writes ``month.csv.gz`` and ``answer.json`` anew from the seed. The answer is
the second biller's (reference_biller.py); the SHA-256 of the frozen statement is kept beside it and is only ever
changed by hand, with a new version of the statement's format.
"""

import csv
import dataclasses
import datetime as dt
import gzip
import io
import json
import random
from pathlib import Path
from typing import Final

from tests.billing.reference_biller import ListedPrice, Used, charges, draw

SEED: Final = 20261001
REQUESTS: Final = 10_000
INTERVALS: Final = 120
FOLDER: Final = Path(__file__).parent
START: Final = dt.datetime(2026, 10, 1, tzinfo=dt.UTC)
MIDDLE: Final = dt.datetime(2026, 10, 16, tzinfo=dt.UTC)
LONG_AGO: Final = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
ORGANIZATION: Final = "org_golden"
OWNER: Final = "golden"
#: Granted before the month began: paid, then a gift.
CREDITS: Final = (2_345_678_901_234, 500_000_000_001)
#: The deployment of each name; ``llm`` is what replica time is told by.
DEPLOYMENTS: Final = {"demo/llm": "dep_demo", "demo/small": "dep_demo", "quay/llm": "dep_quay", "llm": "dep_quay"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Golden(ListedPrice):
    """A price with the id that it has in the database."""

    id: str


def _price(meter: str, prefix: str, pico: int, **more: object) -> Golden:
    number = more.pop("number", 0)
    given: dict[str, object] = {"begins": LONG_AGO, "is_exact": prefix in DEPLOYMENTS, **more}
    name = f"pri_golden_{meter}_{prefix.replace('/', '_') or 'any'}_{number}"
    return Golden(id=name, meter=meter, prefix=prefix, pico=pico, **given)  # type: ignore[arg-type]


#: Listed, changed in the middle of the month, graduated with a free allowance, negotiated, by the request.
PRICES: Final = (
    _price("input_tokens", "", 200_000),
    _price("input_tokens", "", 187_531, begins=MIDDLE, number=1),
    _price("cached_input_tokens", "", 50_000),
    _price("output_tokens", "", 600_000),
    _price("output_tokens", "demo/small", 9_999, tiers=((0, 0), (100_000, 9_999), (400_000, 7_777))),
    _price("output_tokens", "quay/llm", 431_007, owner=OWNER),
    _price("requests", "quay/llm", 1_000_003, ends=MIDDLE),
    _price("replica_seconds", "", 20_000_000),
)


def generated() -> list[Used]:
    """The month from its seed, in the order of its time."""
    chance = random.Random(SEED)
    names = [name for name in DEPLOYMENTS if name != "llm"]
    used = []
    for _ in range(REQUESTS):
        ended = START + dt.timedelta(microseconds=chance.randrange(31 * 86400 * 10**6))
        prompt = min(int(chance.paretovariate(1.2) * 40), 128_000)
        used.append(
            Used(
                name=chance.choice(names),
                input_tokens=prompt,
                cached_tokens=chance.randint(0, prompt) if chance.random() < 0.4 else 0,
                output_tokens=0 if chance.random() < 0.02 else min(int(chance.paretovariate(1.1) * 30), 32_000),
                ended=ended,
                owner=OWNER,
            )
        )
    for _ in range(INTERVALS):
        ended = START + dt.timedelta(hours=3, seconds=chance.randrange(30 * 86400))
        used.append(Used(name="llm", seconds=chance.randint(1, 7200), ended=ended, owner=OWNER))
    return sorted(used, key=lambda one: one.ended)


def rows(used: list[Used]) -> str:
    """The month as it is kept: name, microseconds since its beginning, and what was used."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for one in used:
        at = (one.ended - START) // dt.timedelta(microseconds=1)
        writer.writerow((one.name, at, one.input_tokens, one.cached_tokens, one.output_tokens, one.seconds))
    return out.getvalue()


def kept() -> list[Used]:
    """The month as the repository has it."""
    text = gzip.decompress((FOLDER / "month.csv.gz").read_bytes()).decode()
    return [
        Used(
            name=name,
            input_tokens=int(input_tokens),
            cached_tokens=int(cached_tokens),
            output_tokens=int(output_tokens),
            seconds=int(seconds),
            ended=START + dt.timedelta(microseconds=int(at)),
            owner=OWNER,
        )
        for name, at, input_tokens, cached_tokens, output_tokens, seconds in csv.reader(io.StringIO(text))
    ]


def answer(used: list[Used]) -> dict[str, object]:
    """What the month comes to. Amounts are decimal strings."""
    found = sorted(charges(used, list(PRICES)), key=lambda one: (one.name, one.meter))
    total = sum(one.pico for one in found)
    left = draw(list(CREDITS), total)
    return {
        "lines": [[one.name, one.meter, one.quantity, str(one.pico)] for one in found],
        "total_pico": str(total),
        "credit_applied_pico": str(sum(CREDITS) - sum(left)),
        "due_pico": str(total - sum(CREDITS) + sum(left)),
    }


def main() -> None:
    """Writes both files; the SHA-256 stays as it is."""
    used = generated()
    (FOLDER / "month.csv.gz").write_bytes(gzip.compress(rows(used).encode(), 9, mtime=0))
    place = FOLDER / "answer.json"
    known = json.loads(place.read_text()) if place.exists() else {"statement_sha256": ""}
    place.write_text(json.dumps({**answer(used), "statement_sha256": known["statement_sha256"]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
