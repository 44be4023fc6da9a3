"""A process that exports usage until it is killed: ``python -m tests.billing.meter_sender <twin url>``.

It loads everything once and forks a sender for every line on its input; each sender is a process of its own, with its
own database connection, and its number is printed. Time runs 300 times as fast for it, so that pauses between attempts
are over at once; the clock starts at the line's number of seconds.
"""

import datetime as dt
import importlib
import os
import sys
import time

import django

METER = "moorage_usage_microusd"
SPEED = 300


def main() -> None:
    """Reads lines, forks senders."""
    django.setup()
    # Loaded here, where no database connection is open yet, and not by each sender again.
    importlib.import_module("moorage.billing.meter_export")
    importlib.import_module("moorage.billing.payments_stripe")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            send(sys.argv[1], int(line))
        print(child, flush=True)


def send(url: str, began: int) -> None:
    """Sends until it is killed."""
    from moorage.billing import meter_export
    from moorage.billing.payments_stripe import StripeProvider, StripeSettings
    from tests.stripe_twin.process import API_KEY

    provider = StripeProvider(StripeSettings(api_key=API_KEY, base_url=url, meter=METER))
    start = time.monotonic_ns()
    while True:
        elapsed = (time.monotonic_ns() - start) * SPEED // 1_000
        now = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=began, microseconds=elapsed)
        meter_export.export_due(provider=provider, now=now, every=dt.timedelta(0))
        time.sleep(0.005)


if __name__ == "__main__":
    main()
