"""Dunning, done: reads what is owed, lets dunning.py decide, sends reminders through the outbox and sets standings."""

import datetime as dt
import logging
from collections import defaultdict

from django.conf import settings
from django.db import transaction

from moorage.accounts import services as accounts
from moorage.accounts.actor import MOORAGE
from moorage.accounts.models import Organization, Standing
from moorage.billing import outbox
from moorage.billing.dunning import DunningPolicy, Owed, decide, next_standing
from moorage.billing.models import Collection, Invoice, InvoiceStatus
from moorage.billing.reminder_messages import REMINDER, key_of

logger = logging.getLogger(__name__)


def policy() -> DunningPolicy:
    """The policy of this instance."""
    return DunningPolicy(
        reminder_days=settings.MOORAGE_REMINDER_DAYS,
        past_due_days=settings.MOORAGE_PAST_DUE_DAYS,
        suspended_days=settings.MOORAGE_SUSPENDED_DAYS,
    )


def dun(*, now: dt.datetime, policy_now: DunningPolicy | None = None) -> int:
    """Looks at everybody who owes something or was dunned; how many organizations changed their standing."""
    owed: dict[str, list[Owed]] = defaultdict(list)
    unpaid = Invoice.objects.filter(status__in=[InvoiceStatus.FINALIZED, InvoiceStatus.UNCOLLECTIBLE])
    for invoice in unpaid.filter(total_cents__gt=0, finalized_at__isnull=False):
        assert invoice.finalized_at is not None
        owed[invoice.organization_id].append(
            Owed(
                invoice_id=invoice.id,
                finalized_at=invoice.finalized_at,
                is_disputed=invoice.disputed_at is not None,
                is_given_up=invoice.status == InvoiceStatus.UNCOLLECTIBLE,
            )
        )
    dunned = Collection.objects.exclude(dunned_standing="").values_list("pk", flat=True)
    wanted = policy_now or policy()
    return sum(_dun(one, owed[one], wanted, now) for one in sorted({*owed, *dunned}))


@transaction.atomic
def _dun(organization_id: str, owed: list[Owed], wanted: DunningPolicy, now: dt.datetime) -> bool:
    organization = Organization.objects.select_for_update().get(pk=organization_id)
    decided = decide(wanted, owed, now=now)
    for invoice_id, stage in decided.reminders:
        outbox.put(topic=REMINDER, subject_id=invoice_id, now=now, key=key_of(invoice_id=invoice_id, stage=stage))
    known = Collection.objects.filter(pk=organization_id).values_list("dunned_standing", flat=True).first() or ""
    present = Standing(organization.standing)
    standing = next_standing(present=present, wanted=decided.standing, dunned=known)
    if standing is None:
        return False
    accounts.set_standing(organization=organization, standing=standing, reason=decided.reason, by=MOORAGE)
    kept = "" if standing is Standing.ACTIVE else str(standing)
    Collection.objects.update_or_create(pk=organization_id, defaults={"dunned_standing": kept})
    logger.info("organization_dunned organization=%s standing=%s reason=%s", organization_id, standing, decided.reason)
    return True
