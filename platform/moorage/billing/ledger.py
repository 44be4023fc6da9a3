"""The ledger's only writer. A transaction is a set of signed entries that sum to zero, and is never edited.

Positive is debit; the accounts are in chart.py. ``prove`` (proof.py) adds everything up again.

The database refuses unbalanced, late, changed and deleted entries; see migrations 0002 and 0010.
"""

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import Final

from django.db import connection, transaction
from django.db.models import Sum

from moorage.accounts import audit
from moorage.accounts.actor import Actor
from moorage.accounts.models import Organization
from moorage.billing.chart import Account
from moorage.billing.errors import NotReversible, ReasonMissing
from moorage.billing.models import LedgerAccount, LedgerEntry, LedgerTransaction, new_transaction_id
from moorage.billing.proof import Proof, prove
from moorage.kernel import clock

__all__ = ["Account", "Entry", "Posting", "Proof", "balance", "post", "post_all", "prove", "reverse"]

#: What has corrections of its own.
_CORRECTED_OTHERWISE: Final = frozenset({Account.REVENUE, Account.WALLET})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line to post: positive is debit."""

    account: Account
    organization_id: str
    pico: int


@transaction.atomic
def post(
    *,
    kind: str,
    idempotency_key: str,
    entries: Sequence[Entry],
    effective_at: dt.datetime,
    currency: str | None = None,
    reverses: LedgerTransaction | None = None,
) -> LedgerTransaction:
    """Posts one transaction in ``currency`` (None: what the organizations of the entries pay in), or gives back the one
    that already has this key.

    Entries must sum to zero and none may be zero; a key that is known must come with the entries it came with.
    Anything else is a mistake of ours and asserts (the database refuses the former too).
    """
    posted, _ = _post(
        kind=kind,
        idempotency_key=idempotency_key,
        entries=entries,
        effective_at=effective_at,
        currency=currency or _currency_of(entries),
        reverses=reverses,
    )
    return posted


def _post(
    *,
    kind: str,
    idempotency_key: str,
    entries: Sequence[Entry],
    effective_at: dt.datetime,
    currency: str,
    reverses: LedgerTransaction | None,
) -> tuple[LedgerTransaction, bool]:
    """The transaction, and whether it is new."""
    assert len(entries) >= 2 and sum(entry.pico for entry in entries) == 0, "a transaction sums to zero"
    assert all(type(entry.pico) is int and entry.pico for entry in entries), "an entry is a whole number that moves"
    posted = LedgerTransaction(
        id=new_transaction_id(),
        kind=kind,
        idempotency_key=idempotency_key,
        reverses=reverses,
        effective_at=effective_at,
        created_at=clock.now(),
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO ledger_transaction (id, kind, idempotency_key, reverses_id, effective_at, created_at)"
            " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (idempotency_key) DO NOTHING",
            [
                posted.id,
                kind,
                idempotency_key,
                reverses.pk if reverses else None,
                effective_at,
                posted.created_at,
            ],
        )
        if cursor.rowcount == 0:
            known = LedgerTransaction.objects.get(idempotency_key=idempotency_key)
            assert _entries(known) == sorted((e.organization_id, str(e.account), e.pico) for e in entries), (
                f"{idempotency_key} was posted before with other entries"
            )
            return known, False
    LedgerEntry.objects.bulk_create(
        LedgerEntry(
            transaction_id=posted.id,
            account_id=_account_id(entry.account, entry.organization_id, currency),
            amount_pico=entry.pico,
        )
        for entry in entries
    )
    return posted, True


@transaction.atomic
def reverse(
    *, reversed_transaction: LedgerTransaction, by: Actor, reason: str, effective_at: dt.datetime | None = None
) -> LedgerTransaction:
    """Posts the exact mirror of ``reversed_transaction``, once: whoever comes second, at the same time too, gets the
    reversal that is there. The database refuses any other mirror.

    Raises ReasonMissing, and NotReversible for what has a correction of its own: rated usage is taken back by a credit
    note, credit by ``wallets.revoke``.
    """
    if not reason.strip():
        raise ReasonMissing(param="reason")
    entries = _entries(reversed_transaction)
    if _CORRECTED_OTHERWISE & {kind for _, kind, _ in entries}:
        raise NotReversible
    made, is_new = _post(
        kind="reversal",
        idempotency_key=f"reversal:{reversed_transaction.pk}",
        entries=[
            Entry(account=Account(kind), organization_id=organization_id or "", pico=-pico)
            for organization_id, kind, pico in entries
        ],
        effective_at=effective_at or reversed_transaction.effective_at,
        currency=reversed_transaction.entries.values_list("account__currency", flat=True).distinct().get(),
        reverses=reversed_transaction,
    )
    if is_new:
        audit.record(
            organization=Organization.objects.filter(pk=entries[0][0]).first(),
            by=by,
            action="ledger.reversed",
            subject=reversed_transaction.pk,
            detail={"reason": reason, "reversal": made.pk},
        )
    return made


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """A transaction to post, as :func:`post` takes it."""

    kind: str
    idempotency_key: str
    entries: tuple[Entry, ...]
    effective_at: dt.datetime
    currency: str


@transaction.atomic
def post_all(postings: Sequence[Posting]) -> None:
    """Posts many transactions at once, by the rules of :func:`post`."""
    for posting in postings:
        assert len(posting.entries) >= 2 and sum(entry.pico for entry in posting.entries) == 0, "it sums to zero"
        assert all(type(entry.pico) is int and entry.pico for entry in posting.entries), "an entry moves something"
    ids = {posting.idempotency_key: new_transaction_id() for posting in postings}
    assert len(ids) == len(postings), "each has a key of its own"
    if not ids:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO ledger_transaction (id, kind, idempotency_key, effective_at, created_at)"
            " SELECT *, %s FROM unnest(%s::text[], %s::text[], %s::text[], %s::timestamptz[])"
            " ON CONFLICT (idempotency_key) DO NOTHING RETURNING idempotency_key",
            [
                clock.now(),
                list(ids.values()),
                [posting.kind for posting in postings],
                list(ids),
                [posting.effective_at for posting in postings],
            ],
        )
        added = {key for (key,) in cursor.fetchall()}
    for known in (posting for posting in postings if posting.idempotency_key not in added):
        post(
            kind=known.kind,
            idempotency_key=known.idempotency_key,
            entries=known.entries,
            effective_at=known.effective_at,
            currency=known.currency,
        )
    new = [posting for posting in postings if posting.idempotency_key in added]
    accounts = _account_ids({(e.organization_id, e.account, p.currency) for p in new for e in p.entries})
    LedgerEntry.objects.bulk_create(
        LedgerEntry(
            transaction_id=ids[posting.idempotency_key],
            account_id=accounts[entry.organization_id, entry.account, posting.currency],
            amount_pico=entry.pico,
        )
        for posting in new
        for entry in posting.entries
    )


def balance(*, organization: Organization, kind: Account) -> int:
    """The sum of an account in pico-units of the organization's one currency; positive is debit."""
    found = LedgerEntry.objects.filter(account__organization=organization, account__kind=str(kind)).aggregate(
        total=Sum("amount_pico")
    )["total"]
    return int(found or 0)


def _currency_of(entries: Sequence[Entry]) -> str:
    owners = {entry.organization_id for entry in entries}
    found = set(Organization.objects.filter(pk__in=owners).values_list("currency", flat=True))
    assert len(found) == 1, "a transaction is of organizations that pay in one currency"
    return found.pop()


def _entries(posted: LedgerTransaction) -> list[tuple[str | None, str, int]]:
    rows = posted.entries.values_list("account__organization_id", "account__kind", "amount_pico")
    return sorted((organization_id, kind, int(pico)) for organization_id, kind, pico in rows)


def _account_ids(wanted: set[tuple[str, Account, str]]) -> dict[tuple[str, Account, str], int]:
    """The accounts, by organization, kind and currency."""
    known = LedgerAccount.objects.filter(
        organization_id__in={organization_id for organization_id, _, _ in wanted},
        kind__in={str(kind) for _, kind, _ in wanted},
    ).values_list("organization_id", "kind", "currency", "pk")
    found = {
        (organization_id, Account(kind), currency): pk
        for organization_id, kind, currency, pk in known
        if organization_id is not None
    }
    for organization_id, kind, currency in sorted(wanted - found.keys()):
        found[organization_id, kind, currency] = _account_id(kind, organization_id, currency)
    return found


def _account_id(kind: Account, organization_id: str, currency: str) -> int:
    known = LedgerAccount.objects.filter(organization_id=organization_id, kind=str(kind), currency=currency)
    found = known.values_list("pk", flat=True).first()
    if found is None:
        LedgerAccount.objects.bulk_create(
            [LedgerAccount(organization_id=organization_id, kind=str(kind), currency=currency)],
            ignore_conflicts=True,
        )
        found = known.values_list("pk", flat=True).get()
    return int(found)
