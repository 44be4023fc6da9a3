"""``python -m tests.faults.money_worker NAME``: one process of the money path, to be killed.

Each goes through its own step of billing again and again, as beat rings it, with the logins and the settings of an
instance. What waits for minutes (a message that somebody died with, the next poll) waits for parts of a second: time
for the sender and the applier runs 600 times as fast since MOORAGE_FAULT_BEGAN.
"""

import datetime as dt
import json
import os
import sys
import threading
from collections.abc import Callable, Mapping

import django

SPEED = 600


def seed(organizations: int) -> list[str]:
    """So many organizations with an owner each, and prices. Their ids."""
    from moorage.accounts import services as accounts
    from moorage.accounts.actor import MOORAGE
    from moorage.accounts.models import User
    from moorage.billing import pricing

    pricing.ensure_default_prices()
    made = []
    for number in range(organizations):
        owner = User.objects.create(email=f"owner{number}@example.com", password="!")
        made.append(
            accounts.create_organization(name=f"Quay {number}", slug=f"quay-{number}", owner=owner, by=MOORAGE).id
        )
    return made


def _moment() -> dt.datetime:
    from moorage.kernel import clock

    began = dt.datetime.fromtimestamp(int(os.environ["MOORAGE_FAULT_BEGAN"]), tz=dt.UTC)
    now = clock.now()
    return now + (now - began) * SPEED


def _steps() -> Mapping[str, Callable[[], object]]:
    from moorage.billing import closing, meter_export, outbox, providers, tasks, topups, webhooks
    from moorage.kernel import clock

    available = providers.configured()

    def apply() -> None:
        now = _moment()
        webhooks.apply_due(available=available, now=now)
        webhooks.poll(available=available, now=now)
        webhooks.ask_for_open(available=available, now=now)

    return {
        "rater": tasks.rate,
        "closer": lambda: closing.close_due(now=clock.now()),
        "sender": lambda: outbox.send_due(providers=available, now=_moment(), limit=5),
        "applier": apply,
        "shopper": lambda: _buy(topups.open_checkout),
        "refunder": _pay_back,
        # By the real clock: what is pushed carries its time, and none of it is of the future.
        "exporter": lambda: meter_export.export_due(
            provider=available["stripe"], now=clock.now(), every=dt.timedelta(0)
        ),
    }


def _buy(open_checkout: Callable[..., object]) -> None:
    """The next organization with a number that three divides buys credit, once."""
    from moorage.accounts.actor import MOORAGE
    from moorage.accounts.models import Organization
    from moorage.billing.models import RatedUsage, TopUp

    used = RatedUsage.objects.order_by("-id").values_list("organization_id", flat=True)[:200]
    for organization in Organization.objects.filter(pk__in=set(used), slug__startswith="quay-").order_by("id"):
        number = int(organization.slug.removeprefix("quay-"))
        if number % 3 == 0 and not TopUp.objects.filter(organization=organization).exists():
            open_checkout(organization=organization, cents=100 + number, by=MOORAGE)
            return


def _pay_back() -> None:
    """Every second of those who bought gets 40 cents back, as far as they are unused, once."""
    from moorage.accounts.actor import MOORAGE
    from moorage.billing import refunds
    from moorage.billing.errors import NothingToRefund
    from moorage.billing.models import Refund, TopUp, TopUpStatus

    done = Refund.objects.filter(key="by us").values("organization_id")
    for top_up in TopUp.objects.select_related("organization").filter(status=TopUpStatus.PAID).order_by("id"):
        organization = top_up.organization
        is_due = int(organization.slug.removeprefix("quay-")) % 6 == 0
        if not is_due or done.filter(organization=organization).exists():
            continue
        try:
            refunds.refund_credit(organization=organization, cents=40, reason="Asked for.", key="by us", by=MOORAGE)
        except NothingToRefund:
            continue


def step_named(name: str) -> Callable[[], object]:
    """One step of the money path."""
    return _steps()[name]


def main(name: str) -> None:
    """Steps until it is killed. A database that is away is waited for."""
    from django.db import InterfaceError, OperationalError, connection

    step, pause = step_named(name), threading.Event()
    while True:
        try:
            step()
        except (OperationalError, InterfaceError):
            connection.close()
        pause.wait(0.1)


if __name__ == "__main__":
    django.setup()
    if sys.argv[1] == "seed":
        sys.stdout.write(json.dumps(seed(int(sys.argv[2]))))
    else:
        main(sys.argv[1])
