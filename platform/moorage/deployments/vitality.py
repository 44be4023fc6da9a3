"""Is a ready replica alive, whatever its ``/health`` says? Pure: what gateways and probes saw comes in.

A replica is replaced only when it was asked for a token, again and again, and gave none while nothing else showed that
it lives: no token at a gateway, no work of its engine. Whoever cannot see it has nothing to say: a probe that found no
socket counts only where a gateway found none either, and of a container that the runtime does not show as running
nothing is said at all. A replica whose tokens flow is never asked.
"""

import dataclasses
import datetime as dt
from typing import Final, Literal

#: token: it gave one, or refused the question as such, which takes a living engine. silence: it took the question and
#: gave nothing. unseen: nobody could be asked.
Answer = Literal["token", "silence", "unseen"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Policy:
    """How patient the rule is. One that has requests may work on a long prompt: it has longer, and longer still while
    its engine shows work."""

    #: With requests in flight and no word from the engine for so long, it is asked.
    silent_after: dt.timedelta = dt.timedelta(seconds=60)
    #: One that nobody calls is asked so often.
    idle_every: dt.timedelta = dt.timedelta(minutes=10)
    #: Between two questions to one that has not answered.
    again_after: dt.timedelta = dt.timedelta(seconds=10)
    answer_within: dt.timedelta = dt.timedelta(seconds=15)
    failures: int = 3
    idle_patience: dt.timedelta = dt.timedelta(seconds=45)
    busy_patience: dt.timedelta = dt.timedelta(minutes=5)
    working_patience: dt.timedelta = dt.timedelta(minutes=30)
    #: Between two replicas of one model that are given up for this: were it the load, the next one would follow.
    spacing: dt.timedelta = dt.timedelta(minutes=2)
    #: So much of one processor is work.
    work_share: float = 0.2


POLICY: Final = Policy()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Signs:
    """What the gateways that spoke lately tell of a replica."""

    in_flight: int = 0
    #: The last time that one of them heard its engine, or asked it while it had nothing to do.
    heard_at: dt.datetime | None = None
    is_broken: bool = False  #: a gateway has given it up for now


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """What is known from before. ``since``: when the replica became ready."""

    since: dt.datetime
    probed_at: dt.datetime | None = None
    token_at: dt.datetime | None = None
    failures: int = 0
    failing_since: dt.datetime | None = None
    cpu_seconds: float | None = None
    counted_tokens: int | None = None
    worked_at: dt.datetime | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """What the engine has done since it started; None: it cannot be known."""

    cpu_seconds: float | None = None
    counted_tokens: int | None = None


def is_due(record: Record, signs: Signs, *, now: dt.datetime, policy: Policy = POLICY) -> bool:
    """Whether the replica is asked for a token now: suspects soon, idle ones now and then, others never."""
    last = max(filter(None, (record.probed_at, record.token_at, record.since)))
    asked = record.probed_at or record.since
    if record.failures:
        return now - asked >= policy.again_after
    if signs.is_broken:
        return record.probed_at is None or now - record.probed_at >= policy.again_after
    if signs.in_flight:
        return signs.heard_at is not None and now - max(signs.heard_at, asked) >= policy.silent_after
    heard = max(last, signs.heard_at) if signs.heard_at else last
    return now - heard >= policy.idle_every


def saw(record: Record, signs: Signs) -> Record:
    """What a gateway heard clears every doubt from before it."""
    if signs.in_flight and signs.heard_at and record.failing_since and signs.heard_at > record.failing_since:
        return _alive(record, signs.heard_at)
    return record


def asked(record: Record, answer: Answer, work: Work, signs: Signs, *, now: dt.datetime, policy: Policy) -> Record:
    """The record after a probe that ended ``now``."""
    worked_at = now if _has_worked(record, work, now, policy) else record.worked_at
    noted = dataclasses.replace(
        record,
        probed_at=now,
        cpu_seconds=work.cpu_seconds,
        counted_tokens=work.counted_tokens,
        worked_at=worked_at,
    )
    match answer:
        case "token":
            return _alive(noted, now)
        case "unseen" if not signs.is_broken:
            # We could not see it, and nobody else complains.
            return noted
        case _:
            return dataclasses.replace(noted, failures=record.failures + 1, failing_since=record.failing_since or now)


def why_stuck(record: Record, signs: Signs, *, is_running: bool, now: dt.datetime, policy: Policy = POLICY) -> str:
    """Why the replica has to be replaced, as a sentence; empty: it has not, or nobody can say so."""
    if not is_running or record.failing_since is None or record.failures < policy.failures:
        return ""
    if signs.in_flight and signs.heard_at and signs.heard_at > record.failing_since:
        return ""
    failing = now - record.failing_since
    works = record.worked_at is not None and record.worked_at > record.failing_since
    patience = policy.idle_patience
    if signs.in_flight:
        patience = policy.working_patience if works else policy.busy_patience
    elif works:
        patience = policy.busy_patience
    if failing < patience:
        return ""
    busy = f" with {signs.in_flight} requests in it" if signs.in_flight else ""
    return f"Asked {record.failures} times in {failing.total_seconds():.0f} s{busy}, it gave none."


def _alive(record: Record, at: dt.datetime) -> Record:
    return dataclasses.replace(record, token_at=at, failures=0, failing_since=None)


def _has_worked(record: Record, work: Work, now: dt.datetime, policy: Policy) -> bool:
    known, told = record.counted_tokens, work.counted_tokens
    if known is not None and told is not None and told > known:
        return True
    if work.cpu_seconds is None or record.cpu_seconds is None or record.probed_at is None:
        return False
    elapsed = (now - record.probed_at).total_seconds()
    return elapsed > 0 and (work.cpu_seconds - record.cpu_seconds) / elapsed >= policy.work_share
