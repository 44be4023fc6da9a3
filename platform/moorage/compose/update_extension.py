"""How one revision of a model takes over from another (`x-moorage: {update: …}`): the strategy, and a canary's limits.

Shares and ratios are read as people write them (`2%`, `1.5x`) and kept in hundredths, so that they are exact.
"""

import re
from typing import Final

from moorage.compose import fields
from moorage.compose.problems import Report, join, shown
from moorage.compose.spec import CanarySpec, Strategy, UpdateSpec
from moorage.compose.yaml_nodes import Node, Scalar

STRATEGIES: Final[dict[str, Strategy]] = {"surge": "surge", "hold": "hold", "recreate": "recreate"}
MIN_WEIGHT, MAX_WEIGHT = 1, 50
MIN_TRIAL_SECONDS, MAX_TRIAL_SECONDS = 10, 24 * 3600
_HUNDREDTHS: Final = re.compile(r"([0-9]{1,3})(?:\.([0-9]{1,2}))?")
_NO_CANARY: Final = (
    "A canary runs beside the revision that serves, and {} leaves it no room. Remove canary, or write strategy: surge."
)


def read_update(node: Node, path: str, report: Report) -> UpdateSpec:
    """`strategy` and `canary`; what is not given keeps its default: surge, without a canary."""
    table = fields.mapping(node, path, report)
    if table is None:
        return UpdateSpec()
    fields.refuse_unknown(table.entries, ("strategy", "canary"), path, report, {})
    strategy: Strategy = "surge"
    canary = None
    if "strategy" in table.entries:
        strategy = _read_strategy(table.entries["strategy"].value, join(path, "strategy"), report)
    if "canary" in table.entries:
        entry = table.entries["canary"]
        canary = _read_canary(entry.value, join(path, "canary"), report)
        if strategy != "surge":
            report.error(join(path, "canary"), entry.key_at, _NO_CANARY.format(strategy))
    return UpdateSpec(strategy=strategy, canary=canary)


def _read_strategy(node: Node, path: str, report: Report) -> Strategy:
    written = fields.text(node, path, report)
    if written is not None and written not in STRATEGIES:
        message = f"There is no strategy {shown(written)}. Write surge, hold or recreate."
        report.error(path, node.at, message)
    return STRATEGIES.get(written or "", "surge")


def _read_canary(node: Node, path: str, report: Report) -> CanarySpec:
    table = fields.mapping(node, path, report)
    if table is None:
        return CanarySpec()
    fields.refuse_unknown(table.entries, ("weight", "for", "errors", "first_token", "tokens"), path, report, {})
    found: dict[str, int | None] = {}
    for key, entry in table.entries.items():
        place, value = join(path, key), entry.value
        match key:
            case "weight":
                found["weight"] = _weight(value, place, report)
            case "for":
                found["for_seconds"] = fields.seconds(
                    value, place, report, low=MIN_TRIAL_SECONDS, high=MAX_TRIAL_SECONDS
                )
            case "errors":
                found["errors_hundredths"] = _hundredths(
                    value, place, report, "%", low=1, high=10_000, wanted="a share such as 2%, from 0.01% to 100%"
                )
            case "first_token":
                found["first_token_hundredths"] = _hundredths(
                    value, place, report, "x", low=105, high=10_000, wanted="a ratio such as 1.5x, from 1.05x to 100x"
                )
            case "tokens":
                found["tokens_hundredths"] = _hundredths(
                    value, place, report, "x", low=1, high=95, wanted="a ratio such as 0.8x, from 0.01x to 0.95x"
                )
    return CanarySpec(**{key: value for key, value in found.items() if value is not None})


def _weight(node: Node, path: str, report: Report) -> int | None:
    """Per cent, with or without the sign."""
    if isinstance(node, Scalar) and node.kind == "string" and node.text.endswith("%"):
        node = Scalar(at=node.at, text=node.text[:-1], kind="string")
    return fields.integer(node, path, report, low=MIN_WEIGHT, high=MAX_WEIGHT)


def _hundredths(node: Node, path: str, report: Report, sign: str, *, low: int, high: int, wanted: str) -> int | None:
    text = node.text if isinstance(node, Scalar) and node.kind == "string" else ""
    found = _HUNDREDTHS.fullmatch(text.removesuffix(sign).strip()) if text.endswith(sign) else None
    if found is not None:
        value = int(found[1]) * 100 + int((found[2] or "").ljust(2, "0"))
        if low <= value <= high:
            return value
    report.error(path, node.at, f"This must be {wanted}.")
    return None
