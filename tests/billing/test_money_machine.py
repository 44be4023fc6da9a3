"""Any order of holds, captures, releases, expiries, top-ups, refunds, price changes and clock jumps keeps the money.

A Hypothesis state machine drives the real services and the SQL of the gateways on PostgreSQL. The organization is
prepaid and pays in euro: whatever happens, no request is ever served that its credit does not pay. Replica time, which
nobody can hold, may be owed for a while; credit that comes later pays it, once. Beside it another organization uses the
same models and pays in dollars, at other prices. Longer with MOORAGE_MONEY_EXAMPLES.
"""

import datetime as dt
import os
from collections import Counter

from django.db import connection, transaction
from django.db.models import QuerySet, Sum
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from moorage.accounts.actor import MOORAGE
from moorage.accounts.models import Allowance, Lease, Organization
from moorage.billing import ledger, pricing, rater, settlement, wallet_allowance, wallet_settings, wallets
from moorage.billing.ledger import Account
from moorage.billing.models import (
    BillingMode,
    Grant,
    GrantKind,
    LedgerTransaction,
    Meter,
    RatedUsage,
    Taking,
    TakingKind,
    UnratedUsage,
    Wallet,
)
from moorage.kernel import clock
from moorage.metering import usage_table
from moorage.metering.models import UsageEvent
from tests.billing.gateway_model import Hold, Worker
from tests.billing.measured import everything_shipped, request, run
from tests.cast import Cast

EXAMPLES = int(os.environ.get("MOORAGE_MONEY_EXAMPLES") or 15)
#: No price is ever above: what a hold reckons with.
DEAREST = 1000
#: How many times as much everything costs in dollars.
DOLLARS = 7
#: What a second of a replica costs.
SECOND = 900
TICK = dt.timedelta(milliseconds=1)

_picos = st.integers(min_value=1, max_value=500_000)
_wanted = st.sampled_from((0, 1, 30_000, 100_000, 300_000))
_tokens = st.integers(min_value=1, max_value=40)
_which = st.integers(min_value=0, max_value=1)


class Money(RuleBasedStateMachine):
    """Beside the real thing, what it should come to in plain sums."""

    cast: Cast
    #: What happened, over all examples.
    seen: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        self.outer = transaction.atomic()
        self.outer.__enter__()
        self.organization = self.cast.alice.organization
        self.other = self.cast.charlie.organization
        Organization.objects.filter(pk=self.organization.pk).update(currency="EUR")
        self.organization.currency = "EUR"
        # Its months are over by the real clock, so that every jump stays in the past.
        self.now = clock.now() - dt.timedelta(days=330)
        self.began = self.peak = self.now
        self.price = 100
        #: Since when each price is in force, the latest last.
        self.prices = [(self.now, self.price)]
        self.replica_cost = 0
        self.has_gone_back = False
        #: Tokens that the other organization used, and what a token costs it.
        self.dollar_price = self.price * DOLLARS
        self.dollars = 0
        self.granted = self.taken_back = self.expired = self.cost = 0
        self.sources: list[tuple[GrantKind, int, str, dt.datetime | None]] = []
        self.refunds: list[tuple[int, str, int]] = []
        self.workers = [self._worker(), self._worker()]
        everything_shipped(clock.now() + dt.timedelta(days=1))
        for meter, pico in (
            (Meter.INPUT_TOKENS, 0),
            (Meter.CACHED_INPUT_TOKENS, 0),
            (Meter.OUTPUT_TOKENS, self.price),
            (Meter.REPLICA_SECONDS, SECOND),
        ):
            pricing.set_price(
                meter=meter, model="*", pico_per_unit=pico, currency="EUR", valid_from=self.now, by=MOORAGE
            )
            pricing.set_price(
                meter=meter, model="*", pico_per_unit=pico * DOLLARS, currency="USD", valid_from=self.now, by=MOORAGE
            )
        wallet_settings.set_mode(
            organization=self.organization, mode=BillingMode.PREPAID, reason="They pay first.", by=MOORAGE
        )
        self._grant(GrantKind.PAID, 400_000, None)
        for worker in self.workers:
            worker.report(target=150_000, give=0, now=self._tick())

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.outer.__exit__(None, None, None)

    def _worker(self) -> Worker:
        return Worker(organization_id=self.organization.id)

    def _tick(self) -> dt.datetime:
        self.now += TICK
        self.peak = max(self.peak, self.now)
        # A price that changed is in force from its moment on, also for a clock that went back before it.
        self.price = [pico for since, pico in self.prices if since <= self.now][-1]
        return self.now

    # -- credit comes and goes

    @rule(pico=_picos)
    def top_up(self, pico: int) -> None:
        self._grant(GrantKind.PAID, pico, None)

    @rule(pico=_picos, days=st.integers(min_value=1, max_value=9))
    def promote(self, pico: int, days: int) -> None:
        self._grant(GrantKind.PROMOTIONAL, pico, self.now + dt.timedelta(days=days))

    def _grant(self, kind: GrantKind, pico: int, expires_at: dt.datetime | None) -> None:
        self.sources.append((kind, pico, f"source:{len(self.sources)}", expires_at))
        self._grant_again(*self.sources[-1])
        self.granted += pico

    def _grant_again(self, kind: GrantKind, pico: int, source: str, expires_at: dt.datetime | None) -> None:
        wallets.grant(
            organization=self.organization,
            kind=kind,
            pico=pico,
            source=source,
            expires_at=expires_at,
            by=MOORAGE,
            funded_by=Account.MEMORY_CLEARING if kind == GrantKind.PAID else None,
        )

    @rule(pico=_picos)
    def refund(self, pico: int) -> None:
        source = f"refund:{len(self.refunds)}"
        taken = self._refund(pico, source)
        self.refunds.append((pico, source, taken))
        self.taken_back += taken
        self.seen[f"refunded: {taken > 0}, all of it: {taken == pico}"] += 1

    def _refund(self, pico: int, source: str) -> int:
        return wallets.revoke(
            organization=self.organization, pico_most=pico, source=source, into=Account.MEMORY_CLEARING, by=MOORAGE
        )

    @rule()
    def expire(self) -> None:
        expired = wallets.expire_due(now=self.now)
        self.expired += expired
        self.seen[f"credit expired: {expired > 0}"] += 1

    # -- requests

    @rule(which=_which, tokens=_tokens)
    def hold(self, which: int, tokens: int) -> None:
        self._hold(which, tokens)

    @rule(which=_which, tokens=st.lists(_tokens, min_size=1, max_size=5))
    def hold_several(self, which: int, tokens: list[int]) -> None:
        for one in tokens:
            self._hold(which, one)

    @rule(which=_which, tokens=st.lists(st.tuples(_tokens, _tokens), min_size=1, max_size=5))
    def serve_several(self, which: int, tokens: list[tuple[int, int]]) -> None:
        for most, used in tokens:
            if self._hold(which, most):
                self._capture(self.workers[which], self.workers[which].holds[-1], used)

    def _hold(self, which: int, tokens: int) -> bool:
        is_held = self.workers[which].hold(tokens, DEAREST)
        self.seen["a hold" if is_held else "a refusal"] += 1
        return is_held

    @precondition(lambda self: any(worker.holds for worker in self.workers))
    @rule(number=st.integers(min_value=0, max_value=20), tokens=_tokens)
    def capture(self, number: int, tokens: int) -> None:
        self._capture(*self._some_hold(number), tokens)

    def _capture(self, worker: Worker, hold: Hold, tokens: int) -> None:
        used = min(tokens, hold.tokens)
        at = self._tick()
        self.cost += worker.capture(hold, tokens=used, pico_per_token=self.price, ended_at=at)
        self.seen["a capture"] += 1

    @precondition(lambda self: any(worker.holds for worker in self.workers))
    @rule(number=st.integers(min_value=0, max_value=20))
    def release(self, number: int) -> None:
        worker, hold = self._some_hold(number)
        worker.holds.remove(hold)

    def _some_hold(self, number: int) -> tuple[Worker, Hold]:
        held = [(worker, hold) for worker in self.workers for hold in worker.holds]
        return held[number % len(held)]

    # -- the workers' leases

    @rule(which=_which, wanted=_wanted, give=st.sampled_from((0, 0, 10**12)))
    def report(self, which: int, wanted: int, give: int) -> None:
        self.workers[which].report(target=wanted, give=give, now=self._tick())

    @precondition(lambda self: any(worker.unanswered is None for worker in self.workers))
    @rule(which=_which, wanted=_wanted)
    def report_without_an_answer(self, which: int, wanted: int) -> None:
        if self.workers[which].unanswered is None:
            self.workers[which].report(target=wanted, give=1000, now=self._tick(), is_answer_lost=True)

    @rule(which=_which, tokens=_tokens)
    def die(self, which: int, tokens: int) -> None:
        at = self._tick()
        self.cost += self.workers[which].die(ended_at=at, tokens=tokens, pico_per_token=self.price)
        self.workers[which] = self._worker()
        self._tick()

    @rule()
    def reap(self) -> None:
        self.seen[f"leases of the dead taken back: {Worker.reap() > 0}"] += 1

    # -- replicas

    @rule(seconds=st.integers(min_value=1, max_value=200))
    def a_replica_runs(self, seconds: int) -> None:
        run(self.organization, seconds=seconds, ended_at=self._tick())
        self.replica_cost += seconds * SECOND

    @rule(seconds=st.integers(min_value=500, max_value=2000), pico=_picos)
    def a_replica_overdraws_and_somebody_tops_up(self, seconds: int, pico: int) -> None:
        self.a_replica_runs(seconds)
        self.rate_and_keep()
        self.top_up(pico)
        self.settle()

    # -- time and prices

    @rule(days=st.integers(min_value=1, max_value=9))
    def jump(self, days: int) -> None:
        self.now += dt.timedelta(days=days)

    @rule(seconds=st.sampled_from((1, 60, 3600, 3 * 86_400)))
    def the_clock_goes_back(self, seconds: int) -> None:
        """A host's clock is set: what ends from now on ended before what is rated already."""
        self.now = max(self.began, self.now - dt.timedelta(seconds=seconds))
        self.has_gone_back = True
        self._tick()

    @precondition(lambda self: self.now >= self.peak)
    @rule(price=st.integers(min_value=0, max_value=DEAREST))
    def change_the_price(self, price: int) -> None:
        since = self._tick()
        pricing.set_price(
            meter=Meter.OUTPUT_TOKENS, model="*", pico_per_unit=price, currency="EUR", valid_from=since, by=MOORAGE
        )
        self.prices.append((since, price))
        self._tick()

    # -- whoever pays in another currency

    @rule(tokens=_tokens)
    def the_other_uses(self, tokens: int) -> None:
        event = request(self.other.id, tokens=(0, 0, tokens), ended_at=self._tick())
        usage_table.put([event])
        self.dollars += tokens * self.dollar_price

    # -- what runs by itself

    @rule(size=st.sampled_from((1, 3, 100)))
    def rate(self, size: int) -> None:
        self.seen[f"rated: {rater.rate_batch(limit=size).rated > 0}"] += 1

    @rule()
    def rate_and_keep(self) -> None:
        """As beat rings it."""
        rater.rate_all()
        self.settle()
        wallet_allowance.keep()

    @rule()
    def settle(self) -> None:
        """Credit that no request holds pays what is owed, and leaves nothing that it could have paid."""
        paid = settlement.settle_due(now=self.now)
        self.seen[f"a debt paid later: {paid > 0}"] += 1
        if self._owed():
            wallet = Wallet.objects.select_for_update().get(pk=self.organization.pk)
            assert wallet_allowance.unheld(wallet) == 0

    def _rated(self, organization: Organization) -> QuerySet[RatedUsage]:
        return RatedUsage.objects.for_organization(organization)

    def _owed(self) -> int:
        return ledger.balance(organization=self.organization, kind=Account.RECEIVABLE)

    @rule()
    def everything_again(self) -> None:
        before = self._books()
        for source in self.sources:
            self._grant_again(*source)
        for pico, source, taken in self.refunds:
            assert self._refund(pico, source) == taken
        for taking in Taking.objects.exclude(period_start=None):
            taken = wallets.capture(
                organization_id=taking.organization_id,
                pico=int(taking.asked_pico),
                period_start=taking.period_start,
                idempotency_key=taking.idempotency_key,
                at=taking.at,
            )
            assert taken == taking.taken_pico
        for worker in self.workers:
            if worker.number and worker.unanswered is None:
                worker.repeat()
        assert self._books() == before

    def _books(self) -> tuple[object, ...]:
        return (
            LedgerTransaction.objects.count(),
            Allowance.objects.aggregate(used=Sum("used"), leased=Sum("leased")),
            sorted(Grant.objects.values_list("id", "remaining_pico")),
            sorted(Lease.objects.values_list("worker_id", "amount")),
        )

    # -- what always holds

    @invariant()
    def the_books_add_up(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        proof = ledger.prove()
        assert list(proof.differences()) == []
        assert all(pico == 0 for pico in proof.sums.values())

    @invariant()
    def each_pays_in_its_own_currency(self) -> None:
        paid_in = set(RatedUsage.objects.values_list("organization_id", "currency", "price__currency"))
        assert paid_in <= {(self.organization.id, "EUR", "EUR"), (self.other.id, "USD", "USD")}

    @invariant()
    def credit_is_what_came_less_what_went(self) -> None:
        charged = int(self._rated(self.organization).aggregate(sum=Sum("amount_pico"))["sum"] or 0)
        captures = Taking.objects.filter(kind=TakingKind.CAPTURE)
        paid = int(captures.aggregate(sum=Sum("taken_pico"))["sum"] or 0)
        owed = self._owed()
        wallet = Wallet.objects.get(pk=self.organization.pk)

        assert wallet.credit_pico >= 0
        assert wallet.credit_pico == self.granted - self.taken_back - self.expired - paid
        assert owed == charged - paid >= 0
        assert owed <= self.replica_cost or self.has_gone_back, "a request was served on credit"
        self.seen[f"something is owed: {owed > 0}"] += 1
        assert ledger.balance(organization=self.organization, kind=Account.BREAKAGE) == -self.expired

    @invariant()
    def no_allowance_is_crossed(self) -> None:
        for allowance in Allowance.objects.annotate(held=Sum("leases__amount")):
            assert allowance.used >= 0 and allowance.leased >= 0
            assert allowance.used + allowance.leased <= allowance.ceiling
            assert allowance.leased == (allowance.held or 0)

    @invariant()
    def no_worker_promises_what_it_has_not_leased(self) -> None:
        for worker in self.workers:
            leased = Lease.objects.filter(worker_id=worker.boot_id).values_list("amount", flat=True).first() or 0
            assert sum(hold.pico for hold in worker.holds) + worker.spent <= leased

    @invariant()
    def every_request_is_waiting_or_charged_once_and_for_what_it_used(self) -> None:
        if UnratedUsage.objects.exists():
            return
        owed = ledger.balance(organization=self.other, kind=Account.RECEIVABLE)
        assert owed == self.dollars == int(self._rated(self.other).aggregate(sum=Sum("amount_pico"))["sum"] or 0)
        assert RatedUsage.objects.count() == RatedUsage.objects.values("source_id", "meter").distinct().count()
        rated = int(self._rated(self.organization).aggregate(sum=Sum("amount_pico"))["sum"] or 0)
        assert rated == self.cost + self.replica_cost
        note(f"{UsageEvent.objects.count()} requests come to {self.cost}, replicas to {self.replica_cost}")


def test_whatever_happens_in_whatever_order_the_money_is_kept(cast: Cast) -> None:
    machine = type("MoneyOfAlice", (Money,), {"cast": cast, "seen": Counter()})

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
    print("; ".join(f"{what} {times}" for what, times in sorted(machine.seen.items())))  # type: ignore[attr-defined]
    assert machine.seen["a hold"] and machine.seen["rated: True"]  # type: ignore[attr-defined]
    assert machine.seen["a debt paid later: True"] and machine.seen["something is owed: True"]  # type: ignore[attr-defined]
