"""What a limit says when it lets a request not pass: how much there was, and when or how there is more.

PlatformError
├── RateLimited          429: with Retry-After and x-ratelimit-*
├── BudgetExhausted      402: money; with what is left and where to raise it
├── NetworkRefused       403
└── LimitsUnavailable    503: the leases are used up and the database that knows of more is away
"""

import math
from collections.abc import Mapping
from typing import Final

from moorage.gateway.errors import Unavailable, WithHeaders
from moorage.gateway.leases import Lease
from moorage.kernel import window
from moorage.kernel.currencies import USD
from moorage.kernel.errors import PlatformError
from moorage.kernel.money import Money
from moorage.kernel.window import Window
from moorage.wire.limits import Measure

_OF: Final = {"key": "this API key", "org": "your organization", "dep": "this deployment"}
_PER: Final = {Window.MINUTE: "a minute", Window.DAY: "today", Window.MONTH: "this month", Window.ALWAYS: "at a time"}


class RateLimited(WithHeaders):
    """A limit is reached. Try again when its window has ended."""

    code, status_code, type = "rate_limit_exceeded", 429, "rate_limit_error"

    def __init__(self, message: str | None = None, *, retry_after: int = 1, headers: bytes = b"") -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.headers = b"Retry-After: %d\r\n" % retry_after + headers


class BudgetExhausted(WithHeaders):
    """The budget is spent. Raise it, top up, or wait until it begins anew."""

    code, status_code, type = "budget_exhausted", 402, "insufficient_quota"

    def __init__(
        self, message: str | None = None, *, balance: str = "", top_up_url: str = "", headers: bytes = b""
    ) -> None:
        """``balance`` is what is left, as ``0.25 USD``, and ``top_up_url`` where a person can change that."""
        super().__init__(message)
        self.details: Mapping[str, str | int | None] = {"balance": balance, "top_up_url": top_up_url or None}
        self.headers = headers


class NetworkRefused(PlatformError):
    """This API key may not be used from your network address. Its owner decides which networks may use it."""

    code, status_code, type = "network_not_allowed", 403, "permission_error"


class LimitsUnavailable(Unavailable):
    """Limits and budgets cannot be checked at the moment, so nothing that they count is started. Try again."""

    code, retry_after = "limits_unavailable", 1


def refusal(
    lease: Lease, amount: int, *, now: float, top_up_url: str, headers: bytes = b"", currency: str = USD
) -> PlatformError:
    """Why a request that may use ``amount`` is not let in by ``lease``; ``top_up_url`` is the console's page for it,
    and ``currency`` what money is counted in."""
    of = _OF.get(lease.subject.partition("_")[0], "this")
    if lease.measure is Measure.MONEY:
        return _budget(lease, amount, of=of, top_up_url=top_up_url, headers=headers, currency=currency)
    seconds = max(1, math.ceil(lease.ends - now)) if lease.window is not Window.ALWAYS else 1
    what = {
        Measure.REQUESTS: f"{lease.capacity} requests",
        Measure.TOKENS: f"{lease.capacity} tokens",
        Measure.CONCURRENT: f"{lease.capacity} requests",
    }[lease.measure]
    sentence = f"The limit of {of}, {what} {_PER[lease.window]}, is reached."
    if lease.measure is Measure.TOKENS:
        sentence += f" {lease.remaining} are left, and this request may use up to {amount}."
    if amount > lease.capacity:
        is_tokens = lease.measure is Measure.TOKENS and lease.capacity
        sentence += " Ask for fewer tokens with `max_tokens`." if is_tokens else " It lets nothing through."
    elif lease.window is Window.ALWAYS:
        sentence += " Try again when one of them has ended."
    else:
        sentence += f" Try again in {seconds} seconds."
    return RateLimited(sentence, retry_after=seconds, headers=headers)


def _budget(lease: Lease, amount: int, *, of: str, top_up_url: str, headers: bytes, currency: str) -> BudgetExhausted:
    left, most = Money(lease.remaining, currency), Money(amount, currency)
    where = f" at {top_up_url}" if top_up_url else " in the console"
    if lease.window is Window.ALWAYS:
        sentence = f"The balance of {of} is {left}, and this request may cost up to {most}. An owner can top up{where}."
    else:
        sentence = (
            f"The budget of {of}, {Money(lease.capacity, currency)} {_PER[lease.window]}, is used up: {left} are left,"
            f" and this request may cost up to {most}. It begins anew at {window.text(lease.ends)}, or can be"
            f" raised{where}."
        )
    return BudgetExhausted(sentence, balance=str(left), top_up_url=top_up_url, headers=headers)
