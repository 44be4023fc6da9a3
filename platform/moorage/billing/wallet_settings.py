"""How an organization pays: its mode, which an administrator or the instance's policy sets, and what its owners set."""

import dataclasses
from typing import Any, Final

from django.conf import settings
from django.db import transaction

from moorage.accounts import audit
from moorage.accounts.actor import Actor
from moorage.accounts.models import Organization
from moorage.billing import wallet_allowance
from moorage.billing.errors import InvalidWallet, ReasonMissing
from moorage.billing.models import BillingMode, Wallet
from moorage.billing.wallet_lock import open_wallet
from moorage.kernel.money import PICO, Money

#: Beyond these nothing is meant seriously.
MOST_PICO: Final = 10**9 * PICO
MOST_CENTS: Final = 10**8
MOST_TOP_UP_CENTS: Final = 10**6
#: A payment provider takes no less.
LEAST_CENTS: Final = 100


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """What the owners of an organization decide about its wallet."""

    #: Mail when less than this can still be spent; None: never.
    alert_below_pico: int | None = None
    #: Top up by itself when less than ``below_pico`` can still be spent, ``top_up_cents`` each time and no more than
    #: ``monthly_most_cents`` in a calendar month.
    is_automatic: bool = False
    below_pico: int = 0
    top_up_cents: int = 0
    monthly_most_cents: int = 0


def wallet_of(organization: Organization) -> Wallet:
    """The organization's wallet, to read."""
    return Wallet.objects.get(pk=organization.pk)


def preferences_of(wallet: Wallet) -> Preferences:
    """What its owners have decided."""
    return Preferences(**{field.name: getattr(wallet, field.name) for field in dataclasses.fields(Preferences)})


@transaction.atomic
def set_mode(
    *, organization: Organization, mode: BillingMode, credit_limit_pico: int | None = None, reason: str, by: Actor
) -> None:
    """How the organization pays from now on; the gateways know within a second. What is in use when a limit comes
    is finished. Raises ReasonMissing, and InvalidWallet for a limit that makes no sense."""
    said = reason.strip()[:2000]
    if not said:
        raise ReasonMissing(param="reason")
    if credit_limit_pico is not None and mode == BillingMode.PREPAID:
        raise InvalidWallet("A prepaid organization has no credit limit: it spends what it has.", param="credit_limit")
    if credit_limit_pico is not None and not 0 <= credit_limit_pico <= MOST_PICO:
        raise InvalidWallet(
            f"A credit limit is between 0 and {Money(MOST_PICO, organization.currency)}.", param="credit_limit"
        )
    wallet = open_wallet(organization.pk)
    before = shown_mode(wallet, organization.currency)
    wallet.mode, wallet.credit_limit_pico = mode, credit_limit_pico
    if shown_mode(wallet, organization.currency) == before:
        return
    wallet.save(update_fields=["mode", "credit_limit_pico"])
    wallet_allowance.fill(wallet)
    audit.record(
        organization=organization,
        by=by,
        action="wallet.mode_changed",
        subject=organization.id,
        detail={"before": before, "after": shown_mode(wallet, organization.currency), "reason": said},
    )


@transaction.atomic
def set_preferences(*, organization: Organization, preferences: Preferences, by: Actor) -> None:
    """What the owners want, all of it. Raises InvalidWallet, naming the setting."""
    check(preferences, organization.currency)
    wallet = open_wallet(organization.pk)
    before = preferences_of(wallet)
    if preferences == before:
        return
    wanted = dataclasses.asdict(preferences)
    if preferences.alert_below_pico != before.alert_below_pico:
        wanted["alerted_at"] = None
    Wallet.objects.filter(pk=wallet.pk).update(**wanted)
    audit.record(
        organization=organization,
        by=by,
        action="wallet.settings_changed",
        subject=organization.id,
        detail={"before": dataclasses.asdict(before), "after": dataclasses.asdict(preferences)},
    )


def check(preferences: Preferences, currency: str) -> None:
    """Raises InvalidWallet for the first setting that makes no sense."""
    alert, most_text = preferences.alert_below_pico, Money(MOST_PICO, currency)
    if alert is not None and not 0 < alert <= MOST_PICO:
        raise InvalidWallet(f"A threshold is above zero and at most {most_text}.", param="alert_below")
    if not 0 <= preferences.below_pico <= MOST_PICO:
        raise InvalidWallet(f"The balance to top up at is between 0 and {most_text}.", param="below")
    least = LEAST_CENTS if preferences.is_automatic else 0
    if not least <= preferences.top_up_cents <= MOST_TOP_UP_CENTS:
        raise InvalidWallet(
            f"An automatic top-up is of at least 1 {currency} and at most 10,000 {currency}.", param="top_up"
        )
    if preferences.is_automatic and preferences.below_pico == 0:
        raise InvalidWallet("Say below which balance to top up: at zero it is too late.", param="below")
    most = preferences.monthly_most_cents
    if not 0 <= most <= MOST_CENTS or (preferences.is_automatic and most < preferences.top_up_cents):
        raise InvalidWallet("The most a month is no less than one top-up.", param="monthly_most")


def shown_mode(wallet: Wallet, currency: str) -> str:
    """The mode as people read it: ``postpaid, up to 100.00 EUR``."""
    limit = wallet.credit_limit_pico
    return f"{wallet.mode}, up to {Money(limit, currency)}" if limit is not None else str(wallet.mode)


def organization_saved(*, instance: Organization, created: bool, **_: Any) -> None:
    """For Django's ``post_save``: a new organization pays as MOORAGE_BILLING_MODE says."""
    if created and settings.MOORAGE_BILLING_MODE == BillingMode.PREPAID:
        wallet = open_wallet(instance.pk)
        wallet.mode = BillingMode.PREPAID
        wallet.save(update_fields=["mode"])
        wallet_allowance.fill(wallet)
