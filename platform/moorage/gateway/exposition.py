"""The worker's state as Prometheus text, version 0.0.4. Public names: a change of one breaks somebody's alarm."""

import collections
import os
import pathlib
import sys
from collections.abc import Iterable
from typing import Final

from moorage.gateway.histogram import Histogram
from moorage.gateway.parts import Parts
from moorage.gateway.pool import Replica

_BREAKER_STATES: Final = ("closed", "half_open", "open")
_PREFIX: Final = "moorage_gateway_"

#: The samples of a family: the end of each name (labels, or a suffix with labels) and its value.
Samples = Iterable[tuple[str, float]]


class Page:
    """Families one after another."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def family(self, name: str, kind: str, meaning: str, samples: Samples) -> None:
        """One family with its samples."""
        full = _PREFIX + name
        self._lines.append(f"# HELP {full} {meaning}")
        self._lines.append(f"# TYPE {full} {kind}")
        self._lines.extend(f"{full}{end} {float(value)}" for end, value in samples)

    def counter(self, name: str, meaning: str, value: float) -> None:
        """A family of one sample that only rises."""
        self.family(name, "counter", meaning, [("", value)])

    def gauge(self, name: str, meaning: str, value: float) -> None:
        """A family of one sample that rises and falls."""
        self.family(name, "gauge", meaning, [("", value)])

    def histogram(self, name: str, meaning: str, histogram: Histogram, *, zeros: int = 0) -> None:
        """A family of buckets; ``zeros`` as Histogram.samples has it."""
        self.family(name, "histogram", meaning, histogram.samples(zeros=zeros))

    def content(self) -> bytes:
        """The text."""
        return ("\n".join(self._lines) + "\n").encode()


def render(parts: Parts) -> bytes:
    """Everything that ``parts`` can tell."""
    page = Page()
    _requests(page, parts)
    _waiting(page, parts)
    _admission(page, parts)
    _journal(page, parts)
    _surroundings(page, parts)
    return page.content()


def _requests(page: Page, parts: Parts) -> None:
    metrics = parts.metrics
    page.family(
        "requests_total",
        "counter",
        "Answers by path and status.",
        [(f'{{path="{path}",status="{status}"}}', count) for (path, status), count in sorted(metrics.requests.items())],
    )
    page.family(
        "outcomes_total",
        "counter",
        "Billable requests by how they ended.",
        [(f'{{outcome="{outcome}"}}', count) for outcome, count in sorted(metrics.outcomes.items())],
    )
    page.family(
        "tokens_total",
        "counter",
        "Tokens settled.",
        [
            ('{kind="input"}', metrics.input_tokens),
            ('{kind="cached_input"}', metrics.cached_tokens),
            ('{kind="output"}', metrics.output_tokens),
        ],
    )
    page.histogram("request_seconds", "From a request to the end of its answer.", metrics.request_seconds)
    page.histogram("time_to_first_token_seconds", "From a request to its first token.", metrics.first_token_seconds)
    page.histogram("time_between_tokens_seconds", "Mean of each stream.", metrics.between_tokens_seconds)
    at_once = metrics.request_seconds.count - metrics.queue_seconds.count
    page.histogram("queue_seconds", "Time a request waited for a replica.", metrics.queue_seconds, zeros=at_once)


def _waiting(page: Page, parts: Parts) -> None:
    metrics = parts.metrics
    page.gauge("in_flight", "Requests at an engine.", metrics.in_flight)
    page.gauge("held", "Requests waiting for a replica.", metrics.held)
    page.gauge("large_body_bytes", "Bytes of large request bodies that are kept.", parts.large_bodies.held)
    page.counter("wakes_total", "Wakes written.", metrics.wakes)
    page.counter("engine_retries_total", "Requests sent a second time.", metrics.engine_retries)
    page.counter("malformed_frames_total", "Engine frames that were dropped.", metrics.malformed_frames)
    page.counter("usage_disagreements_total", "Engine figures not borne out.", metrics.usage_disagreements)
    replicas = list(parts.pool)
    states = collections.Counter(replica.breaker.state for replica in replicas)
    page.family(
        "replicas",
        "gauge",
        "Replicas of all routes by the state of their breaker.",
        [(f'{{breaker="{state}"}}', states[state]) for state in _BREAKER_STATES],
    )
    page.gauge("replica_slots_free", "Requests that replicas with known slots could take.", _slots_free(replicas))
    page.gauge("breakers_opened", "How often the breakers of the present replicas opened.", _opened(replicas))


def _admission(page: Page, parts: Parts) -> None:
    admission = parts.admission
    holds = len(parts.live) - len(admission.waits)
    page.gauge("holds", "Requests that hold the most they may use of whatever limits them.", holds)
    page.gauge("leases", "Leases of allowances at this worker.", len(admission.book))
    page.gauge("admission_waiting", "Requests waiting for a lease.", len(admission.waits))
    page.counter("admission_refused_total", "Requests refused by a limit or a budget.", admission.refused)
    page.counter("hold_overruns_total", "Requests that cost more than was held for them.", admission.overruns)
    page.gauge("lease_database_connected", "1 when leases can be fetched.", admission.lost_at is None)


def _journal(page: Page, parts: Parts) -> None:
    journal = parts.metrics.journal
    page.gauge("journal_healthy", "1 when usage can be recorded.", parts.journal.is_healthy)
    page.counter("journal_syncs_total", "Calls of fdatasync.", journal.syncs)
    page.counter("journal_sync_seconds_total", "Time in fdatasync.", journal.sync_seconds)
    page.counter("journal_failures_total", "Writes and syncs that failed.", journal.failures)
    unsynced, seconds = parts.journal.unsynced
    page.gauge("journal_unsynced_bytes", "Records that are not on disk yet.", unsynced)
    page.gauge("journal_unsynced_seconds", "How long the oldest of them waits, at least.", seconds)
    segments, size = _on_disk(parts.settings.journal_dir)
    page.gauge("journal_segments", "Segments in the journal's directory, of all workers, not yet shipped.", segments)
    page.gauge("journal_bytes", "Their size.", size)


def _surroundings(page: Page, parts: Parts) -> None:
    page.gauge("connections", "Open client connections.", len(parts.connections))
    page.gauge("keys", "API keys known.", len(parts.keys))
    page.gauge("database_connected", "1 when the listener is connected.", parts.is_database_connected)
    idempotency = parts.idempotency
    page.gauge("idempotency_keys", "Idempotency-Keys in use or with a kept answer.", len(idempotency))
    page.gauge("idempotency_kept_bytes", "Answers kept in memory for repeated calls.", idempotency.kept_bytes)
    page.counter("idempotency_replays_total", "Calls answered again from memory.", idempotency.replays)
    if parts.certificate is not None:
        certificate = parts.certificate.metrics
        page.gauge("tls_certificate_expires_timestamp_seconds", "End of the certificate.", certificate.expires_at)
        page.counter("tls_reloads_total", "Certificates read again.", certificate.reloads)
        page.counter("tls_reload_failures_total", "Certificates that could not be used.", certificate.reload_failures)
    if parts.traces is not None:
        page.counter("traces_exported_total", "Traces the collector took.", parts.traces.exported)
        page.counter("traces_dropped_total", "Traces that were dropped.", parts.traces.dropped)


def _on_disk(directory: pathlib.Path) -> tuple[int, int]:
    count = size = 0
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(".journal"):
                    count += 1
                    size += entry.stat().st_size
    except OSError:
        # A directory that is away shows as a journal that is not healthy.
        return 0, 0
    return count, size


def _slots_free(replicas: Iterable[Replica]) -> int:
    return sum(max(0, each.slots - each.in_flight) for each in replicas if each.slots < sys.maxsize)


def _opened(replicas: Iterable[Replica]) -> int:
    return sum(replica.breaker.opened for replica in replicas)
