"""Plain counters of one worker, shown as Prometheus text at ``/-/metrics``. No tenant appears in a label."""

import collections
import dataclasses
from typing import Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclasses.dataclass(slots=True)
class JournalMetrics:
    """What the journal writer counts."""

    syncs: int = 0
    sync_seconds: float = 0.0
    failures: int = 0


@dataclasses.dataclass(slots=True)
class Metrics:
    """What the gateway counts since its start, and two gauges."""

    journal: JournalMetrics = dataclasses.field(default_factory=JournalMetrics)
    requests: collections.Counter[tuple[str, int]] = dataclasses.field(default_factory=collections.Counter)
    outcomes: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    usage_disagreements: int = 0
    malformed_frames: int = 0
    engine_retries: int = 0
    wakes: int = 0
    in_flight: int = 0
    held: int = 0

    def render(self, *, connections: int, keys: int, is_journal_healthy: bool, is_database_connected: bool) -> bytes:
        """Prometheus text format, version 0.0.4."""
        lines: list[str] = []

        def family(name: str, kind: str, meaning: str, samples: list[tuple[str, float]]) -> None:
            lines.append(f"# HELP moorage_gateway_{name} {meaning}")
            lines.append(f"# TYPE moorage_gateway_{name} {kind}")
            lines.extend(f"moorage_gateway_{name}{labels} {value}" for labels, value in samples)

        requests = [(f'{{path="{path}",status="{status}"}}', n) for (path, status), n in sorted(self.requests.items())]
        outcomes = [(f'{{outcome="{outcome}"}}', float(count)) for outcome, count in sorted(self.outcomes.items())]
        tokens = [
            ('{kind="input"}', float(self.input_tokens)),
            ('{kind="cached_input"}', float(self.cached_tokens)),
            ('{kind="output"}', float(self.output_tokens)),
        ]
        family("requests_total", "counter", "Answers by path and status.", [(key, float(n)) for key, n in requests])
        family("outcomes_total", "counter", "Billable requests by how they ended.", outcomes)
        family("tokens_total", "counter", "Tokens settled.", tokens)
        single: list[tuple[str, str, str, float]] = [
            ("in_flight", "gauge", "Requests at an engine.", self.in_flight),
            ("held", "gauge", "Requests waiting for a replica.", self.held),
            ("connections", "gauge", "Open client connections.", connections),
            ("keys", "gauge", "API keys known.", keys),
            ("journal_healthy", "gauge", "1 when usage can be recorded.", is_journal_healthy),
            ("database_connected", "gauge", "1 when the listener is connected.", is_database_connected),
            ("journal_syncs_total", "counter", "Calls of fdatasync.", self.journal.syncs),
            ("journal_sync_seconds_total", "counter", "Time in fdatasync.", self.journal.sync_seconds),
            ("journal_failures_total", "counter", "Writes and syncs that failed.", self.journal.failures),
            ("usage_disagreements_total", "counter", "Engine figures not borne out.", self.usage_disagreements),
            ("malformed_frames_total", "counter", "Engine frames that were dropped.", self.malformed_frames),
            ("engine_retries_total", "counter", "Requests sent a second time.", self.engine_retries),
            ("wakes_total", "counter", "Wakes written.", self.wakes),
        ]
        for name, kind, meaning, value in single:
            family(name, kind, meaning, [("", float(value))])
        return ("\n".join(lines) + "\n").encode()
