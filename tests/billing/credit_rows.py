"""What an administrator finds about bought credit: a transfer that is awaited, credit that is paid, a push that is
stuck."""

import datetime as dt

from moorage.accounts.models import Organization
from moorage.billing import topups, wallets
from moorage.billing.ledger import Account
from moorage.billing.models import GrantKind, PushStatus, TopUp, TopUpKind, TopUpStatus, UsagePush
from moorage.kernel import clock
from moorage.kernel.money import PICO_PER_CENT
from tests.cast import Person


def awaited_transfer(person: Person, cents: int = 2500) -> TopUp:
    """A top-up of ``person``'s organization that waits for its bank transfer. Outside transactions."""
    return topups.open_checkout(organization=person.organization, cents=cents, by=person.actor)


def bought_by_card(person: Person, cents: int = 2500) -> TopUp:
    """Credit that was paid at Stripe."""
    top_up = TopUp.objects.create(
        organization=person.organization,
        kind=TopUpKind.CHECKOUT,
        status=TopUpStatus.PAID,
        currency="USD",
        cents=cents,
        provider="stripe",
        source=f"by card {person.organization.slug}",
        checkout_reference="cs_1",
        payment_reference="pi_1",
        created_by=person.actor.label,
        paid_at=clock.now(),
    )
    wallets.grant(
        organization=person.organization,
        kind=GrantKind.PAID,
        pico=cents * PICO_PER_CENT,
        source=f"top_up:{top_up.id}",
        funded_by=Account.STRIPE_CLEARING,
        by=person.actor,
    )
    return top_up


def stuck_push(organization: Organization, status: PushStatus = PushStatus.UNCERTAIN) -> UsagePush:
    """Usage for 1.25 USD of which nobody knows whether it is in the meter, or which the meter refused."""
    now = clock.now()
    return UsagePush.objects.create(
        organization=organization,
        seq=1,
        period_start=now.replace(day=1, hour=0, minute=0, second=0, microsecond=0),
        window_start=now - dt.timedelta(hours=2),
        window_end=now - dt.timedelta(hours=1),
        value_micro=1_250_000,
        status=status,
        first_sent_at=now - dt.timedelta(days=1),
        last_error="The line was cut.",
    )
