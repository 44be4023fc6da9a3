"""Four eyes: what moves much money waits for another administrator, and happens once."""

import threading

import pytest
from django.db import IntegrityError, connection, transaction

from moorage.accounts import services as accounts
from moorage.accounts.actor import Actor
from moorage.accounts.models import AuditEntry, Scope, User
from moorage.billing import approvals, closing, ledger, rater
from moorage.billing import services as billing
from moorage.billing.approvals import Verdict, judge, needs_another
from moorage.billing.errors import ApprovalChanged, ApprovalPending, InvoiceChanged, OwnRequest, ReasonMissing
from moorage.billing.ledger import Account
from moorage.billing.models import ApprovalKind, ApprovalRequest, ApprovalStatus, Invoice, InvoiceStatus
from moorage.kernel.money import PICO
from tests.billing.measured import CLOSING, OCTOBER, everything_shipped, price_list, use
from tests.cast import Cast, assemble


@pytest.mark.parametrize(
    ("amount", "threshold", "is_needed"),
    [
        (99, 100, False),
        (100, 100, True),
        (101, 100, True),
        (-100, 100, True),
        (-99, 100, False),
        (10**30, 0, False),
        (0, 1, False),
    ],
)
def test_a_second_person_is_needed_from_the_threshold_on(amount: int, threshold: int, is_needed: bool) -> None:
    assert needs_another(amount, threshold_pico=threshold) is is_needed


@pytest.mark.parametrize(
    ("status", "person", "takes_back", "verdict"),
    [
        (ApprovalStatus.WAITING, "bea@example.com", False, Verdict.MAY),
        (ApprovalStatus.WAITING, "ada@example.com", False, Verdict.OWN),
        (ApprovalStatus.WAITING, "ADA@example.com", False, Verdict.OWN),
        (ApprovalStatus.WAITING, "ada@example.com", True, Verdict.MAY),
        (ApprovalStatus.WAITING, "bea@example.com", True, Verdict.OWN),
        (ApprovalStatus.APPROVED, "bea@example.com", False, Verdict.DECIDED),
        (ApprovalStatus.REFUSED, "ada@example.com", True, Verdict.DECIDED),
        (ApprovalStatus.WITHDRAWN, "bea@example.com", False, Verdict.DECIDED),
    ],
)
def test_who_may_decide(status: ApprovalStatus, person: str, takes_back: bool, verdict: Verdict) -> None:
    assert judge(status=status, requested_by="ada@example.com", person=person, takes_back=takes_back) is verdict


@pytest.fixture
def four_eyes(settings: object) -> None:
    """From one dollar on."""
    settings.MOORAGE_FOUR_EYES_PICO = PICO  # type: ignore[attr-defined]


def ada(cast: Cast) -> Actor:
    """The administrator of the cast."""
    return Actor.person(cast.ada)


def bea() -> Actor:
    """Another one."""
    user, _ = User.objects.get_or_create(email="bea@example.com", defaults={"is_administrator": True})
    return Actor.person(user)


def owed(cast: Cast, *, tokens: int = 2_000_000) -> Invoice:
    """A finalized invoice of 0.6 USD a million output tokens."""
    price_list()
    use(cast.alice.organization, tokens=(0, 0, tokens))
    billing_month_closed()
    invoice = Invoice.objects.get(organization=cast.alice.organization)
    billing.approve_invoice(invoice=invoice, by=ada(cast))
    return invoice


def billing_month_closed() -> None:
    """October, rated and closed."""
    rater.rate_all()
    everything_shipped()
    closing.close_period(OCTOBER, CLOSING)


def status_of(invoice: Invoice) -> str:
    """As it is in the database."""
    return Invoice.objects.values_list("status", flat=True).get(pk=invoice.pk)


def test_what_is_small_is_done_at_once(cast: Cast, four_eyes: None) -> None:
    invoice = owed(cast, tokens=1_000_000)

    outcome = billing.mark_uncollectible(invoice=invoice, by=ada(cast), reason="Gone.")

    assert outcome.is_done
    assert status_of(invoice) == InvoiceStatus.UNCOLLECTIBLE
    assert not ApprovalRequest.objects.exists()


def test_without_the_setting_nobody_is_asked(cast: Cast) -> None:
    invoice = owed(cast, tokens=200_000_000)

    outcome = billing.void_invoice(invoice=invoice, by=ada(cast), reason="Ours.")

    assert outcome.is_done
    assert status_of(invoice) == InvoiceStatus.VOID


@pytest.mark.parametrize(
    ("verb", "end"),
    [
        (billing.mark_uncollectible, InvoiceStatus.UNCOLLECTIBLE),
        (billing.void_invoice, InvoiceStatus.VOID),
    ],
)
def test_what_is_large_waits_until_another_administrator_agrees(
    cast: Cast, four_eyes: None, verb: object, end: InvoiceStatus
) -> None:
    invoice = owed(cast)

    outcome = verb(invoice=invoice, by=ada(cast), reason="They are gone.")  # type: ignore[operator]

    assert outcome.request is not None
    assert status_of(invoice) == InvoiceStatus.FINALIZED
    billing.approve_request(request_id=outcome.request.pk, by=bea(), reason="I looked.")
    assert status_of(invoice) == end
    actions = list(AuditEntry.objects.filter(subject=invoice.pk).order_by("at", "id").values_list("action", flat=True))
    assert actions[-3:-1] == ["approval.requested", "approval.approved"]
    said = AuditEntry.objects.filter(subject=invoice.pk).latest("at").detail["reason"]
    assert "They are gone." in said and "ada@example.com" in said and "bea@example.com" in said


def test_nobody_agrees_with_themselves_not_even_with_a_key(cast: Cast, four_eyes: None) -> None:
    invoice = owed(cast)
    made = accounts.create_key(
        organization=cast.alice.organization, name="month-end", scopes=[Scope.ADMIN], by=ada(cast)
    )
    request = billing.mark_uncollectible(invoice=invoice, by=Actor.key(made.key), reason="Gone.").request
    assert request is not None

    for actor in (ada(cast), Actor.key(made.key)):
        with pytest.raises(OwnRequest):
            billing.approve_request(request_id=request.pk, by=actor)
        with pytest.raises(OwnRequest):
            billing.refuse_request(request_id=request.pk, by=actor, reason="no")

    assert status_of(invoice) == InvoiceStatus.FINALIZED
    assert approvals.find(request.pk).status == ApprovalStatus.WAITING


def test_the_database_refuses_an_approval_by_the_requester(cast: Cast, four_eyes: None) -> None:
    request = billing.mark_uncollectible(invoice=owed(cast), by=ada(cast), reason="Gone.").request
    assert request is not None

    with pytest.raises(IntegrityError, match="approval_request_by_another"), transaction.atomic():
        ApprovalRequest.objects.filter(pk=request.pk).update(
            status="approved", decided_by=request.requested_by, decided_at=request.requested_at
        )


def test_what_is_refused_is_not_done_and_says_why(cast: Cast, four_eyes: None) -> None:
    invoice = owed(cast)
    request = billing.mark_uncollectible(invoice=invoice, by=ada(cast), reason="Gone.").request
    assert request is not None

    with pytest.raises(ReasonMissing):
        billing.refuse_request(request_id=request.pk, by=bea(), reason=" ")
    billing.refuse_request(request_id=request.pk, by=bea(), reason="They answered.")

    assert status_of(invoice) == InvoiceStatus.FINALIZED
    assert approvals.find(request.pk).decided_because == "They answered."
    with pytest.raises(ApprovalChanged):
        billing.approve_request(request_id=request.pk, by=bea())
    assert not approvals.waiting().exists()


def test_the_same_is_asked_for_once_and_again_after_it_was_taken_back(cast: Cast, four_eyes: None) -> None:
    invoice = owed(cast)
    first = billing.mark_uncollectible(invoice=invoice, by=ada(cast), reason="Gone.").request
    assert first is not None

    with pytest.raises(ApprovalPending):
        billing.mark_uncollectible(invoice=invoice, by=bea(), reason="Gone too.")
    with pytest.raises(OwnRequest):
        billing.withdraw_request(request_id=first.pk, by=bea())
    billing.withdraw_request(request_id=first.pk, by=ada(cast))

    assert billing.mark_uncollectible(invoice=invoice, by=bea(), reason="Gone.").request is not None


def test_a_deed_that_cannot_be_done_any_more_leaves_the_request_waiting(cast: Cast, four_eyes: None) -> None:
    invoice = owed(cast)
    request = billing.mark_uncollectible(invoice=invoice, by=ada(cast), reason="Gone.").request
    assert request is not None
    Invoice.objects.filter(pk=invoice.pk).update(status=InvoiceStatus.PAID)

    with pytest.raises(InvoiceChanged), transaction.atomic():
        billing.approve_request(request_id=request.pk, by=bea())

    assert approvals.find(request.pk).status == ApprovalStatus.WAITING


def test_nobody_is_asked_for_what_cannot_be_done(cast: Cast, four_eyes: None) -> None:
    invoice = owed(cast)
    billing.void_invoice(invoice=invoice, by=ada(cast), reason="Ours.")
    Invoice.objects.filter(pk=invoice.pk).update(status=InvoiceStatus.PAID)
    invoice.refresh_from_db()

    with pytest.raises(InvoiceChanged):
        billing.mark_uncollectible(invoice=invoice, by=ada(cast), reason="Gone.")

    assert not ApprovalRequest.objects.filter(kind=ApprovalKind.UNCOLLECTIBLE).exists()


def test_two_who_approve_at_once_act_once(committed_db: None, four_eyes: None) -> None:
    cast = assemble()
    invoice = owed(cast)
    request = billing.mark_uncollectible(invoice=invoice, by=ada(cast), reason="Gone.").request
    assert request is not None
    others = [Actor(id=f"usr_{number}", label=f"other-{number}@example.com") for number in range(8)]
    start, answers = threading.Barrier(len(others)), []

    def approve(by: Actor) -> None:
        start.wait()
        try:
            billing.approve_request(request_id=request.pk, by=by)
        except ApprovalChanged:
            answers.append("changed")
        else:
            answers.append("approved")
        finally:
            connection.close()

    threads = [threading.Thread(target=approve, args=(by,)) for by in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answers) == ["approved", *["changed"] * 7]
    assert ledger.balance(organization=invoice.organization, kind=Account.BAD_DEBT) == invoice.total_cents * 10**10
