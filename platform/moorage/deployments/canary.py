"""Whether a revision on trial is good enough. Pure: figures, limits and time come in, a verdict and its why come out.

Both revisions serve at the same time, so whatever comes from outside (a slow disk, callers' mistakes) meets both, and
only the difference counts.

* **Errors** (the engine broke, 5xx, or refused with 4xx): from 10 requests and 3 errors on. Rolled back when the
  share is above the limit, and that is no chance: the binomial tail of the limit and, where the other revision has
  answered 10 requests, Fisher's exact test against it are both below 1 %, because it is looked at often.
* **First token**: from 20 streams on each side and 30 s on (caches are cold at first). Rolled back when the ratio of
  the medians is above the limit, by more than 20 ms, and the Mann-Whitney test is below 1 %.
* **Token rate**: from 20 answers and 200 tokens on each side and 30 s on; streams against streams, else whole answers
  against whole answers. Rolled back when the ratio is below the limit.
* **Promoted** when its time has passed, it has answered 20 requests, and nothing is beyond its limit. Otherwise the
  trial goes on, to six times its time: then whatever is beyond a limit rolls it back, and with too few requests for
  a verdict it is promoted, since nothing speaks against it.

Three requests never decide anything.
"""

import dataclasses
import datetime as dt
import math
from collections.abc import Mapping
from typing import Any, Final, Literal

from moorage.compose.spec import CanarySpec

Verdict = Literal["continue", "promote", "roll back"]

LEAST_REQUESTS: Final = 20
LEAST_FOR_ERRORS: Final = 10
LEAST_ERRORS: Final = 3
LEAST_ANSWERS: Final = 20
LEAST_TOKENS: Final = 200
WARM_UP: Final = dt.timedelta(seconds=30)
#: A first token that is later by less is noise.
FLOOR_SECONDS: Final = 0.02
CHANCE: Final = 0.01
#: So many times its time may a trial take.
PATIENCE: Final = 6
#: As the gateways count: buckets of first tokens grow by 2 ** (1 / 8).
_BUCKETS_A_DOUBLING: Final = 8
#: The standard normal's 99 % quantile: CHANCE, one-sided.
_NORMAL: Final = 2.326


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figures:
    """What one revision has answered since the trial began. Sums over all gateways."""

    requests: int = 0
    errors: int = 0  #: refusals included
    streams: int = 0
    first_token: Mapping[int, int] = dataclasses.field(default_factory=dict)  #: streams by bucket
    stream_tokens: int = 0
    stream_seconds: float = 0.0
    whole_answers: int = 0
    whole_tokens: int = 0
    whole_seconds: float = 0.0

    @property
    def error_share(self) -> float:
        """From 0 to 1; 0 where nothing was asked."""
        return self.errors / self.requests if self.requests else 0.0

    @property
    def first_token_seconds(self) -> float | None:
        """The median; None: no stream had one."""
        half, seen = self.streams / 2, 0
        for bucket, count in sorted(self.first_token.items()):
            seen += count
            if seen >= half:
                return float(2 ** ((bucket + 0.5) / _BUCKETS_A_DOUBLING)) / 1e6
        return None

    @property
    def tokens_per_second(self) -> float | None:
        """Of one answer, of streams where there are any; None: nothing was answered."""
        if self.stream_seconds > 0:
            return self.stream_tokens / self.stream_seconds
        return self.whole_tokens / self.whole_seconds if self.whole_seconds > 0 else None

    def to_json(self) -> dict[str, Any]:
        """What people are shown; seconds and shares are rounded."""
        first, rate = self.first_token_seconds, self.tokens_per_second
        return {
            "requests": self.requests,
            "errors": self.errors,
            "error_share": round(self.error_share, 4),
            "first_token_seconds": None if first is None else round(first, 4),
            "tokens_per_second": None if rate is None else round(rate, 1),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verdict and the sentence that people are shown."""

    verdict: Verdict
    why: str


def judge(baseline: Figures, canary: Figures, policy: CanarySpec, *, since: dt.datetime, now: dt.datetime) -> Judgement:
    """The verdict on ``canary`` beside ``baseline``, ``since`` its first replica was ready."""
    waited = now - since
    trial = dt.timedelta(seconds=policy.for_seconds)
    beyond = _beyond(baseline, canary, policy, is_warm=waited >= WARM_UP)
    for sentence, is_certain in beyond:
        if is_certain:
            return Judgement(verdict="roll back", why=sentence)
    if waited < trial:
        left = math.ceil((trial - waited).total_seconds())
        return Judgement(verdict="continue", why=f"{_asked(canary)}, nothing speaks against it; {left} s to go.")
    is_over = waited >= PATIENCE * trial
    if beyond:
        sentence = beyond[0][0]
        if is_over:
            return Judgement(verdict="roll back", why=f"{sentence} It stayed so to the end of the trial.")
        return Judgement(verdict="continue", why=f"{sentence} That may be chance; the trial goes on.")
    if canary.requests >= LEAST_REQUESTS:
        return Judgement(verdict="promote", why=f"{_asked(canary)} within every limit: {_said(baseline, canary)}.")
    if is_over:
        return Judgement(verdict="promote", why=f"{_asked(canary)}, too few for a verdict; nothing speaks against it.")
    return Judgement(verdict="continue", why=f"{_asked(canary)} of the {LEAST_REQUESTS} that a verdict needs.")


def _beyond(baseline: Figures, canary: Figures, policy: CanarySpec, *, is_warm: bool) -> list[tuple[str, bool]]:
    """What is beyond its limit, each with a sentence and whether it is certain."""
    found = []
    limit = policy.errors_hundredths / 10_000
    if canary.requests >= LEAST_FOR_ERRORS and canary.errors >= LEAST_ERRORS and canary.error_share > limit:
        is_certain = binomial_tail(canary.errors, canary.requests, limit) < CHANCE
        if baseline.requests >= LEAST_FOR_ERRORS:
            is_certain = is_certain and fisher(canary, baseline) < CHANCE
        sentence = (
            f"{canary.errors} of {canary.requests} requests failed ({canary.error_share:.1%}; at most {limit:.2%};"
            f" {baseline.errors} of {baseline.requests} at the revision before)."
        )
        # Where the revision before fails as often, the callers or the world are to blame.
        if is_certain or baseline.error_share < canary.error_share:
            found.append((sentence, is_certain))
    if not is_warm:
        return found
    if (late := _late(baseline, canary, policy.first_token_hundredths / 100)) is not None:
        found.append(late)
    if (slow := _slow(baseline, canary, policy.tokens_hundredths / 100)) is not None:
        found.append(slow)
    return found


def _late(baseline: Figures, canary: Figures, limit: float) -> tuple[str, bool] | None:
    if min(baseline.streams, canary.streams) < LEAST_ANSWERS:
        return None
    before, now = baseline.first_token_seconds, canary.first_token_seconds
    if before is None or now is None or now <= limit * before or now - before < FLOOR_SECONDS:
        return None
    sentence = f"The first token takes {now:.2f} s, {now / before:.1f} times the {before:.2f} s before ({limit:g}x)."
    return sentence, mann_whitney(canary.first_token, baseline.first_token) > _NORMAL


def _slow(baseline: Figures, canary: Figures, limit: float) -> tuple[str, bool] | None:
    sides = [(one.streams, one.stream_tokens, one.stream_seconds) for one in (baseline, canary)]
    if min(answers for answers, _, _ in sides) < LEAST_ANSWERS:
        sides = [(one.whole_answers, one.whole_tokens, one.whole_seconds) for one in (baseline, canary)]
    if any(answers < LEAST_ANSWERS or tokens < LEAST_TOKENS or seconds <= 0 for answers, tokens, seconds in sides):
        return None
    before, now = (tokens / seconds for _, tokens, seconds in sides)
    if now >= limit * before:
        return None
    return f"It makes {now:.0f} tokens a second where the revision before makes {before:.0f} ({limit:g}x).", True


def _asked(canary: Figures) -> str:
    return "One request" if canary.requests == 1 else f"{canary.requests} requests"


def _said(baseline: Figures, canary: Figures) -> str:
    parts = [f"{canary.error_share:.1%} failed ({baseline.error_share:.1%} before)"]
    before, now = baseline.first_token_seconds, canary.first_token_seconds
    if before is not None and now is not None:
        parts.append(f"first token after {now:.2f} s ({before:.2f} s before)")
    return ", ".join(parts)


def binomial_tail(errors: int, requests: int, share: float) -> float:
    """The chance of at least so many errors in so many requests, were ``share`` of all requests to fail."""
    if share >= 1:
        return 1.0
    below = sum(
        math.exp(_log_choose(requests, k) + k * math.log(share) + (requests - k) * math.log1p(-share))
        for k in range(errors)
    )
    return max(0.0, 1.0 - below)


def fisher(canary: Figures, baseline: Figures) -> float:
    """Fisher's exact test, one-sided: the chance that the canary gets at least its errors, were errors dealt out
    blindly among all requests of both (https://en.wikipedia.org/wiki/Fisher%27s_exact_test)."""
    requests, errors = canary.requests + baseline.requests, canary.errors + baseline.errors
    whole = _log_choose(requests, errors)
    most = min(errors, canary.requests)
    return sum(
        math.exp(_log_choose(canary.requests, k) + _log_choose(baseline.requests, errors - k) - whole)
        for k in range(canary.errors, most + 1)
        if errors - k <= baseline.requests
    )


def mann_whitney(mine: Mapping[int, int], others: Mapping[int, int]) -> float:
    """How many standard deviations ``mine`` lie above ``others``, by rank; ties count half
    (https://en.wikipedia.org/wiki/Mann%E2%80%93Whitney_U_test)."""
    n, m = sum(mine.values()), sum(others.values())
    if not n or not m:
        return 0.0
    u = sum(
        count * sum(other if place < bucket else other / 2 for place, other in others.items() if place <= bucket)
        for bucket, count in mine.items()
    )
    return (u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
