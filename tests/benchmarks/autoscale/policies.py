"""Our autoscaler and a Knative-style reference, as the replay asks them."""

import dataclasses
import datetime as dt
import math
from collections.abc import Sequence
from typing import Final

from moorage.deployments import autoscaler
from tests.benchmarks.autoscale.replay import Sight

_EPOCH: Final = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)


@dataclasses.dataclass(kw_only=True)
class Moorage:
    """``deployments/autoscaler.py`` as ``scaling.py`` calls it: a look every three seconds, at figures that gateways
    reported up to two seconds ago, and one as soon as somebody begins to wait."""

    slots: int
    most: int
    idle_seconds: int = 90
    down_delay_seconds: int = 0
    name: str = "Moorage"
    period: float = 3.0
    ring: float | None = 0.3
    told_every: int = 2
    memory: autoscaler.Memory = dataclasses.field(default_factory=autoscaler.Memory)

    def wanted(self, sight: Sight) -> int:
        """Asks it."""
        policy = autoscaler.Policy(
            minimum=0,
            maximum=self.most,
            idle_seconds=self.idle_seconds,
            slots=self.slots,
            down_delay_seconds=self.down_delay_seconds,
        )
        last = sight.last_request_at if sight.last_request_at is not None else -1e6
        load = autoscaler.Load(
            in_flight=sight.in_flight,
            waiting=sight.waiting,
            queue_seconds=sight.queue_seconds,
            ready=sight.ready,
            is_wake_requested=bool(sight.waiting) and not sight.ready,
            last_active_at=_EPOCH + dt.timedelta(seconds=last),
        )
        decision = autoscaler.decide(
            policy,
            load,
            current=sight.wanted,
            memory=self.memory,
            is_off=False,
            now=_EPOCH + dt.timedelta(seconds=sight.now),
        )
        self.memory = decision.memory
        return decision.count


@dataclasses.dataclass(kw_only=True)
class Knative:
    """The Knative Pod Autoscaler with its default settings: a stable window of 60 s and a panic window of 6 s, 70 %
    target utilisation, panic from 200 % on, scale-up rate 1000, scale-down rate 2, 30 s of grace before zero.

    Written after its documentation (https://knative.dev/docs/serving/autoscaling/kpa-specific/) and what its source
    does (knative/serving, pkg/autoscaler/scaling/autoscaler.go, ``autoscaler.Scale``; ticks of 2 s; averages over whole
    seconds since the first request after an empty window; the activator asks at once when there is no replica).
    """

    slots: int
    utilisation: float = 0.7
    stable_seconds: int = 60
    panic_seconds: int = 6
    panic_threshold: float = 2.0
    up_rate: float = 1000.0
    down_rate: float = 2.0
    grace_seconds: float = 30.0
    name: str = "Knative"
    period: float = 2.0
    ring: float | None = None
    told_every: int = 0
    panic_since: float | None = None
    panic_most: int = 0
    first_at: float | None = None
    inactive_since: float | None = None

    def wanted(self, sight: Sight) -> int:
        """One tick."""
        now, ready = sight.now, max(1, sight.ready)
        target = self.utilisation * self.slots
        if sight.in_flight + sight.waiting and self.first_at is None:
            self.first_at = now
        stable = self._average(sight, self.stable_seconds)
        panic = self._average(sight, self.panic_seconds)
        up, down = math.ceil(self.up_rate * ready), math.floor(ready / self.down_rate)
        over = math.ceil(panic / target) / ready >= self.panic_threshold
        by_stable = min(max(math.ceil(stable / target), down), up)
        by_panic = min(max(math.ceil(panic / target), down), up)
        if over:
            self.panic_since = now
        elif self.panic_since is not None and self.panic_since + self.stable_seconds < now:
            self.panic_since, self.panic_most = None, 0
        desired = by_stable
        if self.panic_since is not None:
            self.panic_most = max(self.panic_most, by_stable, by_panic)
            desired = self.panic_most
        return self._to_zero(desired, stable, sight)

    def _to_zero(self, desired: int, stable: float, sight: Sight) -> int:
        if stable > 0 or sight.in_flight + sight.waiting:
            self.inactive_since = None
            return max(1, desired)
        self.first_at = None
        if not sight.wanted:
            return 0
        if self.inactive_since is None:
            self.inactive_since = sight.now
        return 0 if sight.now - self.inactive_since >= self.grace_seconds else max(1, desired)

    def _average(self, sight: Sight, seconds: int) -> float:
        if self.first_at is None:
            return float(sight.in_flight + sight.waiting)
        window: Sequence[float] = list(sight.concurrency)[-min(seconds, max(1, math.ceil(sight.now - self.first_at))) :]
        mean = sum(window) / len(window) if window else 0.0
        # What the activator tells of a model without replicas is newer than any whole second.
        return max(mean, sight.in_flight + sight.waiting) if not sight.ready else mean
