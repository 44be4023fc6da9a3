"""Four eyes: what moves much money is asked for by one administrator and agreed to by another, and done once.

Whether a deed needs a second person, and who may decide, is decided purely; the row is moved by a guarded UPDATE, in
the transaction of the deed. A person is known by their address, also where an API key of theirs speaks: nobody agrees
with themselves through a program.
"""

import dataclasses
import datetime as dt
import enum
from typing import Final

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet, Sum

from moorage.accounts import audit
from moorage.accounts.actor import Actor
from moorage.accounts.models import ApiKey, Organization
from moorage.billing import locks
from moorage.billing.errors import ApprovalChanged, ApprovalNotFound, ApprovalPending, OwnRequest
from moorage.billing.models import ApprovalKind, ApprovalRequest, ApprovalStatus, Invoice, MoneyDeed, Refund
from moorage.kernel import clock
from moorage.kernel.money import Money

_PERSON_MOST = 80
#: What one and the same organization gets within this time counts together.
SPAN: Final = dt.timedelta(hours=24)


class Verdict(enum.StrEnum):
    """Whether somebody may decide on a request."""

    MAY = "may"
    OWN = "own"
    DECIDED = "decided"


def needs_another(amount_pico: int, *, threshold_pico: int, lately_pico: int = 0) -> bool:
    """Whether a deed that moves ``amount_pico`` (either way) waits for a second person; a threshold of 0 is none.
    ``lately_pico`` is what such deeds moved for the organization within a day without one: much money in small parts
    is much money. Pure."""
    return 0 < threshold_pico <= abs(amount_pico) + lately_pico


def judge(*, status: ApprovalStatus, requested_by: str, person: str, takes_back: bool = False) -> Verdict:
    """Whether ``person`` may approve or refuse (or, with ``takes_back``, withdraw) a request. Pure."""
    if status is not ApprovalStatus.WAITING:
        return Verdict.DECIDED
    is_own = person.lower() == requested_by.lower()
    return Verdict.MAY if is_own == takes_back else Verdict.OWN


def threshold_pico() -> int:
    """From how much on this instance asks for four eyes; 0: never."""
    return int(settings.MOORAGE_FOUR_EYES_PICO)


def person_of(actor: Actor) -> str:
    """The person behind an actor: who signed in, or who made the key."""
    made_by = ApiKey.objects.filter(pk=actor.id).values_list("created_by", flat=True).first()
    return (made_by if made_by is not None else actor.label)[:_PERSON_MOST]


@transaction.atomic
def alone_or_asked(
    *,
    kind: ApprovalKind,
    organization: Organization,
    amount_pico: int,
    reason: str,
    key: str,
    by: Actor,
    invoice: Invoice | None = None,
    detail: dict[str, object] | None = None,
) -> ApprovalRequest | None:
    """None where the deed may be done by one person, in this transaction: it is counted, once for ``key``. Else the
    request that waits for another. Raises ApprovalPending where the same is asked for already."""
    threshold = threshold_pico()
    if threshold == 0:
        return None
    locks.deeds(organization.pk)
    counted = MoneyDeed.objects.filter(kind=kind, organization=organization)
    if counted.filter(key=key).exists():
        return None  # it is done; whoever calls again gets the same answer
    lately = counted.filter(at__gt=clock.now() - SPAN).aggregate(sum=Sum("amount_pico"))["sum"]
    if not needs_another(amount_pico, threshold_pico=threshold, lately_pico=int(lately or 0)):
        MoneyDeed.objects.create(
            kind=kind, organization=organization, key=key, amount_pico=abs(amount_pico), by=person_of(by)
        )
        return None
    return ask(
        kind=kind,
        organization=organization,
        invoice=invoice,
        amount_pico=amount_pico,
        reason=reason,
        detail=detail,
        by=by,
    )


@transaction.atomic
def ask(
    *,
    kind: ApprovalKind,
    organization: Organization,
    amount_pico: int,
    reason: str,
    by: Actor,
    invoice: Invoice | None = None,
    detail: dict[str, object] | None = None,
) -> ApprovalRequest:
    """Asks for another administrator's agreement. Raises ApprovalPending where the same is asked for already."""
    made = ApprovalRequest(
        kind=kind,
        organization=organization,
        invoice_id=invoice.pk if invoice is not None else "",
        amount_pico=abs(amount_pico),
        detail=detail or {},
        reason=reason,
        requested_by=person_of(by),
        requested_by_label=by.label[:120],
    )
    try:
        with transaction.atomic():
            made.save(force_insert=True)
    except IntegrityError as error:
        raise ApprovalPending from error
    _audit(made, by, "approval.requested", reason)
    return made


@transaction.atomic
def decide(*, request_id: str, to: ApprovalStatus, because: str, by: Actor) -> ApprovalRequest:
    """Moves a waiting request; whoever comes second changes nothing and hears ApprovalChanged.

    Call it in the transaction of the deed: where the deed fails, the request is waiting as before. Raises
    ApprovalNotFound, and OwnRequest for the requester (for anybody else, where it is taken back).
    """
    assert to is not ApprovalStatus.WAITING
    request = find(request_id)
    person = person_of(by)
    verdict = judge(
        status=ApprovalStatus(request.status),
        requested_by=request.requested_by,
        person=person,
        takes_back=to is ApprovalStatus.WITHDRAWN,
    )
    if verdict is Verdict.DECIDED:
        raise ApprovalChanged
    if verdict is Verdict.OWN:
        raise OwnRequest
    changes = {
        "status": to,
        "decided_at": clock.now(),
        "decided_by": person,
        "decided_by_label": by.label[:120],
        "decided_because": because,
    }
    if not ApprovalRequest.objects.filter(pk=request.pk, status=ApprovalStatus.WAITING).update(**changes):
        raise ApprovalChanged
    for name, value in changes.items():
        setattr(request, name, value)
    _audit(request, by, f"approval.{to}", because)
    return request


def find(request_id: str) -> ApprovalRequest:
    """One request, decided or not. Raises ApprovalNotFound."""
    found = ApprovalRequest.objects.select_related("organization").filter(pk=request_id).first()
    if found is None:
        raise ApprovalNotFound
    return found


def waiting() -> QuerySet[ApprovalRequest]:
    """What waits for another administrator, the oldest first."""
    found = ApprovalRequest.objects.select_related("organization").filter(status=ApprovalStatus.WAITING)
    return found.order_by("requested_at", "id")


def requests() -> QuerySet[ApprovalRequest]:
    """All of them, newest first."""
    return ApprovalRequest.objects.select_related("organization").order_by("-requested_at", "-id")


def waiting_for(invoice: Invoice) -> ApprovalRequest | None:
    """What waits about an invoice, if anything does."""
    return waiting().filter(invoice_id=invoice.pk).first()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a deed: done, or waiting for another administrator."""

    request: ApprovalRequest | None = None
    #: What is being paid back, where that was the deed.
    refunds: tuple[Refund, ...] = ()

    @property
    def is_done(self) -> bool:
        """Whether the deed is done."""
        return self.request is None


def _audit(request: ApprovalRequest, by: Actor, action: str, reason: str) -> None:
    audit.record(
        organization=request.organization,
        by=by,
        action=action,
        subject=request.invoice_id or request.pk,
        detail={
            "reason": reason,
            "request": request.pk,
            "kind": str(request.kind),
            "amount": str(Money(int(request.amount_pico), request.organization.currency)),
            "requested_by": request.requested_by,
        },
    )
