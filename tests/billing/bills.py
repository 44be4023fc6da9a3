"""Invoices for billing's tests: a month of a person's organization, closed, with or without credit and tax."""

import datetime as dt
from pathlib import Path

from moorage.accounts.actor import MOORAGE, Actor
from moorage.accounts.models import User
from moorage.billing import closing, export, minimums, pricing, rater, review, services, wallets
from moorage.billing.models import GrantKind, Invoice, Meter, Statement
from moorage.billing.policy import ReviewPolicy
from moorage.billing.tiers import Tier
from moorage.kernel import clock
from moorage.kernel.clock import Period
from tests.billing.measured import CLOSING, LAST_MONTH, OCTOBER, everything_shipped, price_list, run, use
from tests.cast import Person

NO_REVIEW = ReviewPolicy(above_cents=None, first_invoice=False)
#: Tokens that cost 1.20 USD.
TOKENS = (0, 0, 2_000_000)


def invoiced(
    person: Person,
    *,
    tokens: tuple[int, int, int] = TOKENS,
    names: tuple[str, ...] = ("demo/llm",),
    seconds: int = 0,
    credit_pico: int = 0,
    policy: ReviewPolicy = NO_REVIEW,
) -> Invoice:
    """October of ``person``'s organization as an invoice; without ``policy``, with a number."""
    price_list()
    if credit_pico:
        promise(person, credit_pico)
    for name in names:
        use(person.organization, tokens=tokens, served_name=name)
    if seconds:
        run(person.organization, seconds=seconds)
    return closed(person, policy=policy)


def closed(person: Person, *, period: Period = OCTOBER, policy: ReviewPolicy = NO_REVIEW) -> Invoice:
    """What was used until now in ``period``, rated, frozen and invoiced."""
    rater.rate_all()
    everything_shipped(period.end + closing.GRACE)
    closing.close_period(period, max(CLOSING, period.end + closing.GRACE), policy=policy)
    return Invoice.objects.select_related("organization", "statement").get(
        organization=person.organization, statement__period_start=period.start
    )


def approved(
    person: Person, *, by: User, tokens: tuple[int, int, int], ended_at: dt.datetime = LAST_MONTH.start
) -> Invoice:
    """Last month of ``person``'s organization as an invoice that ``by`` has looked at."""
    price_list()
    use(person.organization, tokens=tokens, ended_at=ended_at)
    everything_shipped(clock.now() + dt.timedelta(days=1))
    rater.rate_all()
    closing.close_period(LAST_MONTH, LAST_MONTH.end + closing.GRACE)
    (invoice,) = review.review_queue()
    services.approve_invoice(invoice=invoice, by=Actor.person(by))
    return invoice


def promise(person: Person, pico: int) -> None:
    """Promotional credit of ``pico`` for the organization."""
    wallets.grant(
        organization=person.organization,
        kind=GrantKind.PROMOTIONAL,
        pico=pico,
        source=f"test:{person.organization.pk}:{pico}",
        by=Actor.person(person.user),
    )


def minimum(person: Person, pico: int) -> None:
    """From October on the organization pays at least so much a month."""
    minimums.set_minimum(organization=person.organization, pico=pico, period=OCTOBER, by=MOORAGE)


def graduated(model: str, rates: list[tuple[int, int]]) -> None:
    """A graduated price of output tokens: (from which quantity of the month on, pico a token)."""
    pricing.set_price(
        meter=Meter.OUTPUT_TOKENS,
        model=model,
        pico_per_unit=0,
        graduated=[Tier(begins=begins, pico=pico) for begins, pico in rates],
        valid_from=OCTOBER.start,
        by=MOORAGE,
    )


def exported(invoice: Invoice) -> bytes:
    """The whole export of the invoice's statement."""
    statement = Statement.objects.select_related("organization").get(pk=invoice.statement_id)
    return b"".join(export.stream(statement))


def saved(folder: Path, invoice: Invoice) -> Path:
    """The export as a customer has it."""
    path = folder / "export.jsonl"
    path.write_bytes(exported(invoice))
    return path
