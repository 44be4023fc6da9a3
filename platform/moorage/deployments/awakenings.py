"""What waking was measured to take, and what it takes as a rule."""

import datetime as dt
import statistics
from collections.abc import Mapping
from typing import Final

from moorage.deployments.models import Awakening, Deployment, Replica
from moorage.deployments.tiers import Tier, WakeTimes

#: The rule is the median of the last few.
_RECENT: Final = 5
#: Kept of each model, for people.
_KEPT: Final = 50


def record(
    replica: Replica, tier: Tier, *, since: dt.datetime, marks: Mapping[str, dt.datetime], now: dt.datetime
) -> None:
    """``replica`` could answer at ``now`` and was wanted since then; ``marks``: when it passed each stage."""
    mine = Awakening.objects.filter(deployment_id=replica.deployment_id, model_key=replica.model_key)
    Awakening.objects.create(
        replica=replica,
        deployment_id=replica.deployment_id,
        model_key=replica.model_key,
        tier=tier,
        seconds=max(0.0, (now - since).total_seconds()),
        stages={stage: round((at - since).total_seconds(), 6) for stage, at in marks.items()},
        at=now,
    )
    oldest = mine.order_by("-at").values_list("at", flat=True)[_KEPT : _KEPT + 1]
    mine.filter(at__lte=oldest[0]).delete() if oldest else None


def times(deployment: Deployment) -> Mapping[str, WakeTimes]:
    """By model key, as far as they were measured."""
    found: dict[tuple[str, str], list[float]] = {}
    rows = Awakening.objects.filter(deployment=deployment).order_by("-at").values_list("model_key", "tier", "seconds")
    for model_key, tier, seconds in rows:
        mine = found.setdefault((model_key, tier), [])
        if len(mine) < _RECENT:
            mine.append(seconds)
    medians = {key: statistics.median(values) for key, values in found.items()}
    return {model_key: WakeTimes(**{tier: medians.get((model_key, tier)) for tier in Tier}) for model_key, _ in medians}
