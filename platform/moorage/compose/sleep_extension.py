"""`x-moorage.scale.sleep`: how long a replica that nobody calls stays in each tier before it is gone."""

from typing import Final

from moorage.compose import fields
from moorage.compose.problems import Report, join
from moorage.compose.spec import SleepSpec
from moorage.compose.yaml_nodes import Node, Scalar

#: A week: whoever wants longer wants `idle: never`.
MAX_SLEEP_SECONDS: Final = 7 * 24 * 3600


def read_sleep(node: Node, path: str, report: Report) -> SleepSpec:
    """`frozen` and `stopped`, each a time or `never`; what is not given is the operator's to say."""
    table = fields.mapping(node, path, report)
    if table is None:
        return SleepSpec()
    hints = {"absent": "What has been stopped for its time is gone; there is nothing to set for it."}
    fields.refuse_unknown(table.entries, ("frozen", "stopped"), path, report, hints)
    values: dict[str, int | None] = {}
    for key, entry in table.entries.items():
        if key in {"frozen", "stopped"}:
            never = isinstance(entry.value, Scalar) and entry.value.text == "never"
            read = 0 if never else fields.seconds(entry.value, join(path, key), report, low=1, high=MAX_SLEEP_SECONDS)
            values[f"{key}_seconds"] = read
    return SleepSpec(**values)
