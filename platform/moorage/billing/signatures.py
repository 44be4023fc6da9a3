"""Whether a webhook's bytes were signed by somebody who has our secret. Pure; nothing is parsed before it says yes.

The scheme is Stripe's: ``Stripe-Signature: t=<Unix seconds>,v1=<hex>[,v1=<hex>]``, HMAC-SHA256 over ``"{t}.{body}"``.
Ours is stricter than the SDK's (measured on 16.1.0), which takes a signature that is dated years ahead, and switches
the check off for a tolerance of zero; and it is more lenient about blanks behind the commas.
"""

import datetime as dt
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from moorage.billing.errors import WebhookRefused

TOLERANCE: Final = dt.timedelta(seconds=300)
_MOST_HEADER: Final = 4096


def verify(payload: bytes, signature: str, *, secrets: Sequence[str], now: dt.datetime) -> None:
    """Raises WebhookRefused unless one of the ``v1`` values signs ``payload`` with one of ``secrets`` at a time within
    five minutes of ``now``, earlier or later. No secret at all refuses everything."""
    usable = [secret for secret in secrets if secret]
    if not usable:
        raise WebhookRefused("This instance has no webhook secret, so it takes no webhooks.")
    if len(signature) > _MOST_HEADER or not signature.isascii():
        raise WebhookRefused
    pairs = [part.strip().partition("=") for part in signature.split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    offered = [value for name, _, value in pairs if name == "v1"]
    if len(times) != 1 or not times[0].isdecimal() or len(times[0]) > 12 or not offered:
        raise WebhookRefused
    expected = [
        hmac.new(secret.encode(), times[0].encode() + b"." + payload, hashlib.sha256).hexdigest() for secret in usable
    ]
    if not any(hmac.compare_digest(one, other) for one in expected for other in offered):
        raise WebhookRefused
    signed_at = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=int(times[0]))
    if abs(now - signed_at) > TOLERANCE:
        raise WebhookRefused("This webhook was signed at another time. Is the clock right?")
