"""The export of usage to the provider's meter: what arrives is the floor of what was rated, whatever fails between."""

import datetime as dt
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from django.conf import settings as django_settings
from django.test import override_settings

from moorage.accounts import services as accounts
from moorage.accounts.actor import Actor
from moorage.accounts.models import Organization
from moorage.billing import closing, customers, invoices, meter_export, outbox, providers, rater
from moorage.billing.errors import InvoiceChanged
from moorage.billing.models import BillingMonth, Invoice, OutboxMessage, PushStatus, RatedUsage, UsagePush
from moorage.billing.payments import PaymentProvider, ProviderRefused, ProviderUnavailable, UsageReport
from moorage.billing.payments_memory import MemoryProvider
from moorage.billing.payments_stripe import StripeProvider, StripeSettings
from moorage.billing.policy import ReviewPolicy
from moorage.kernel import clock
from tests.billing.measured import everything_shipped, price_list, use
from tests.billing.meter_sender import METER, SPEED
from tests.cast import Cast
from tests.conftest import ROOT_ENVIRONMENT
from tests.stripe_twin.process import API_KEY, SECRET, TwinProcess
from tests.waiting import wait_until

PICO_PER_MICRO = 10**6
HOUR = dt.timedelta(hours=1)
METER_EVENTS = "/v1/billing/meter_events"


class Meter(MemoryProvider):
    """A meter that fails as it is told."""

    def __init__(self, *failures: Exception) -> None:
        super().__init__(has_meter=True)
        self.failures = list(failures)
        self.keys: list[str] = []

    def push_usage(self, report: UsageReport, *, idempotency_key: str) -> None:
        self.keys.append(idempotency_key)
        super().push_usage(report, idempotency_key=idempotency_key)
        if self.failures:
            raise self.failures.pop(0)


def _month_of(now: dt.datetime) -> dt.datetime:
    return now.astimezone(dt.UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _rated(organization: Organization, *, tokens: int, at: dt.datetime) -> None:
    use(organization, tokens=(tokens, 0, 0), ended_at=at)
    rater.rate_all()


def _floor(organization: Organization) -> int:
    rated = RatedUsage.objects.for_organization(organization).values_list("amount_pico", flat=True)
    return sum(int(pico) for pico in rated) // PICO_PER_MICRO


def _in_meter(provider: Meter, organization: Organization) -> int:
    reference = customers.known_reference(organization_id=organization.pk, provider="memory")
    return provider.usage_total(
        reference, start=dt.datetime(2020, 1, 1, tzinfo=dt.UTC), end=dt.datetime(2040, 1, 1, tzinfo=dt.UTC)
    )


@pytest.fixture
def harbour(committed_cast: Cast) -> Organization:
    """Alice's organization with some usage that is no whole number of micro-dollars."""
    price_list()
    _rated(committed_cast.alice.organization, tokens=333, at=clock.now())
    return committed_cast.alice.organization


def test_nothing_is_exported_unless_a_meter_is_named(harbour: Organization) -> None:
    assert meter_export.export_due(provider=MemoryProvider(), now=clock.now() + HOUR) == 0
    assert not UsagePush.objects.exists()
    assert not any("meter" in str(one) for one in providers.configured()["transfer"].capabilities)


def test_a_remainder_below_a_micro_dollar_is_carried_and_never_lost(harbour: Organization) -> None:
    provider, now = Meter(), clock.now() + HOUR

    for number in range(5):
        meter_export.export_due(provider=provider, now=now + number * HOUR)
        _rated(harbour, tokens=number * 7 + 1, at=clock.now())
    meter_export.export_due(provider=provider, now=now + 9 * HOUR)

    assert _in_meter(provider, harbour) == _floor(harbour)
    assert UsagePush.objects.count() > 1


def test_an_organization_has_one_push_on_its_way(harbour: Organization) -> None:
    provider, now = Meter(ProviderUnavailable("away")), clock.now() + HOUR
    meter_export.export_due(provider=provider, now=now)
    _rated(harbour, tokens=1000, at=clock.now())

    meter_export.export_due(provider=provider, now=now + dt.timedelta(seconds=1))

    push = UsagePush.objects.get()
    assert (push.status, push.attempts) == (PushStatus.SENDING, 1)
    assert push.first_sent_at == now


def test_a_lost_answer_is_asked_for_again_with_the_same_identifier(harbour: Organization) -> None:
    provider, now = Meter(ProviderUnavailable("lost")), clock.now() + HOUR

    meter_export.export_due(provider=provider, now=now)
    meter_export.export_due(provider=provider, now=now + HOUR / 2)

    push = UsagePush.objects.get()
    assert provider.keys == [push.identifier, push.identifier]
    assert (push.status, _in_meter(provider, harbour)) == (PushStatus.ACKED, _floor(harbour))


def test_what_the_provider_refuses_stops_until_a_person_decides(harbour: Organization, committed_cast: Cast) -> None:
    provider, now = Meter(ProviderRefused("too many digits")), clock.now() + HOUR
    meter_export.export_due(provider=provider, now=now)
    meter_export.export_due(provider=provider, now=now + HOUR)
    push = UsagePush.objects.get()
    assert (push.status, len(provider.keys)) == (PushStatus.REJECTED, 1)
    provider._usage.clear()

    meter_export.resolve(push=push, is_received=False, reason="Not in the sums.", by=Actor.person(committed_cast.ada))
    meter_export.export_due(provider=provider, now=now + 2 * HOUR)

    assert _in_meter(provider, harbour) == _floor(harbour)
    with pytest.raises(InvoiceChanged):
        meter_export.resolve(push=push, is_received=True, reason="Again.", by=Actor.person(committed_cast.ada))


# The twin: a real process, the real SDK, and a sender that is killed.


def _stripe(twin: TwinProcess) -> StripeProvider:
    provider = StripeProvider(StripeSettings(api_key=API_KEY, base_url=twin.url, meter=METER))
    provider._client.v1.billing.meters.create(
        {"display_name": "Usage", "event_name": METER, "default_aggregation": {"formula": "sum"}}
    )
    return provider


def _journal_sums(twin: TwinProcess) -> dict[str, int]:
    sums: dict[str, int] = {}
    for one in twin.all("billing.meter_event"):
        customer = one["payload"]["stripe_customer_id"]
        sums[customer] = sums.get(customer, 0) + int(one["payload"]["value"])
    return sums


def test_invariant_13_what_was_pushed_is_the_floor_of_the_ledger_though_the_sender_is_killed_fifty_times(
    committed_cast: Cast, started: TwinProcess, database_url: str
) -> None:
    """5 % of calls fail before they work, 7 % lose their answer, 429s come in bursts; the sender dies 50 times."""
    started.control("forget")
    provider = _stripe(started)
    price_list()
    alice = committed_cast.alice
    more = [
        accounts.create_organization(name=f"Quay {number}", slug=f"quay-{number}", owner=alice.user, by=alice.actor)
        for number in range(2)
    ]
    tenants = [alice.organization, committed_cast.charlie.organization, *more]
    chance = random.Random(13)
    for tenant in tenants:
        customers.reference_of(organization=tenant, provider=provider)
    started.control("chaos", path=METER_EVENTS, seed=13, shares={"500": 5, "drop": 7, "429": 8})
    environment = {
        **ROOT_ENVIRONMENT,
        "DATABASE_URL": database_url,
        "DJANGO_SETTINGS_MODULE": "moorage.config.settings",
        "PYTHONPATH": f"{django_settings.REPOSITORY}/platform:{django_settings.REPOSITORY}",
        "MOORAGE_HOME": str(django_settings.MOORAGE_HOME),
        "MOORAGE_LOG_LEVEL": "CRITICAL",
    }
    forker = subprocess.Popen(
        [sys.executable, "-m", "tests.billing.meter_sender", started.url],
        cwd=django_settings.REPOSITORY,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert forker.stdin is not None
    assert forker.stdout is not None
    began, sender, killed = time.monotonic(), 0, 0
    start = int(clock.now().timestamp()) - 3 * 24 * 3600
    try:
        while killed < 50 or UsagePush.objects.exclude(status=PushStatus.ACKED).exists() or _behind(tenants):
            assert time.monotonic() - began < 300, "the export comes to its end"
            if not sender:
                forker.stdin.write(f"{start + int((time.monotonic() - began) * SPEED)}\n")
                forker.stdin.flush()
                sender = int(forker.stdout.readline())
            calls = len(started.calls("POST", METER_EVENTS))
            if killed < 50 or calls < 250:
                for tenant in tenants:
                    moment = dt.datetime.fromtimestamp(start, tz=dt.UTC)
                    use(tenant, tokens=(chance.randrange(1, 5000), 0, 0), ended_at=moment)
                rater.rate_all()
            time.sleep(chance.randrange(10, 400) / 1000)  # so that it dies anywhere in the middle of whatever it does
            if killed < 50:
                os.kill(sender, signal.SIGKILL)
                sender, killed = 0, killed + 1
    finally:
        if sender:
            os.kill(sender, signal.SIGKILL)
        forker.kill()
        forker.communicate()

    sums = _journal_sums(started)
    for tenant in tenants:
        reference = customers.known_reference(organization_id=tenant.pk, provider="stripe")
        acked = UsagePush.objects.filter(organization=tenant, status=PushStatus.ACKED)
        assert sums[reference] == sum(acked.values_list("value_micro", flat=True)) == _floor(tenant) > 0
        for hour in {push.window_end.replace(minute=0, second=0, microsecond=0) for push in acked}:
            pushed = [
                push.value_micro for push in acked if hour <= push.window_end - dt.timedelta(seconds=1) < hour + HOUR
            ]
            assert provider.usage_total(reference, start=hour, end=hour + HOUR) == sum(pushed)
    faults = {one["fault"] for one in started.calls("POST", METER_EVENTS)}
    assert {"500", "drop", "429"} <= faults


def _behind(tenants: list[Organization]) -> bool:
    """Whether something is rated and not pushed."""
    pushed = {tenant.pk: 0 for tenant in tenants}
    for push in UsagePush.objects.all():
        pushed[push.organization_id] += push.value_micro
    return any(_floor(tenant) != pushed[tenant.pk] for tenant in tenants)


def test_invariant_14_nothing_is_sent_again_after_twenty_hours(
    harbour: Organization, started: TwinProcess, caplog: pytest.LogCaptureFixture
) -> None:
    started.control("forget")
    provider, now = _stripe(started), clock.now() + dt.timedelta(minutes=1)
    BillingMonth.objects.update(period_start=_month_of(now))
    started.fault("drop", METER_EVENTS, times=3)
    meter_export.export_due(provider=provider, now=now)
    push = UsagePush.objects.get()
    assert push.status == PushStatus.SENDING
    calls = len(started.calls("POST", METER_EVENTS))
    started.control("clock", seconds=21 * 3600)

    for minutes in range(3):
        meter_export.export_due(provider=provider, now=now + 21 * HOUR + dt.timedelta(minutes=minutes))

    push.refresh_from_db()
    assert push.status == PushStatus.UNCERTAIN
    assert len(started.calls("POST", METER_EVENTS)) == calls
    assert "usage_push_stuck" in caplog.text
    assert UsagePush.objects.count() == 1


def test_invariant_15_no_invoice_is_finalized_with_unsent_usage(committed_cast: Cast, started: TwinProcess) -> None:
    started.control("forget")
    provider = _stripe(started)
    price_list()
    organization = committed_cast.alice.organization
    last_month = closing.Period.containing(_month_of(clock.now()) - dt.timedelta(days=1))
    _rated(organization, tokens=2_000_000, at=last_month.start)
    everything_shipped(clock.now() + dt.timedelta(days=1))
    started.fault("429", METER_EVENTS)
    asked: dict[str, PaymentProvider] = {"stripe": provider}
    with override_settings(STRIPE_API_KEY=API_KEY, STRIPE_WEBHOOK_SECRETS=(SECRET,), STRIPE_BASE_URL=started.url):
        closing.close_period(
            last_month,
            last_month.end + closing.GRACE,
            policy=ReviewPolicy(above_cents=None, first_invoice=False),
        )
    invoice = Invoice.objects.get()
    message = OutboxMessage.objects.get(topic=invoices.ISSUE)
    now = clock.now()

    before = outbox.send_due(providers=asked, now=now)
    meter_export.export_due(provider=provider, now=now)
    held_back = outbox.send_due(providers=asked, now=now + HOUR)

    message.refresh_from_db()
    assert (before.sent, held_back.sent, held_back.later) == (0, 0, 1)
    assert "meter" in message.last_error
    assert started.all("invoice") == []
    meter_export.export_due(provider=provider, now=now + HOUR)
    assert outbox.send_due(providers=asked, now=now + 3 * HOUR).sent == 1
    (theirs,) = started.all("invoice")
    assert (theirs["status"], theirs["total"]) == ("open", invoice.total_cents)
    assert sum(_journal_sums(started).values()) == _floor(organization)


def test_a_month_that_the_provider_takes_no_more_holds_no_invoice_back(harbour: Organization) -> None:
    provider, now = Meter(), clock.now()
    month = _month_of(now)

    def why(at: dt.datetime) -> str:
        return meter_export.why_unsent(organization_id=harbour.pk, period_start=month, provider=provider, now=at)

    assert "not pushed yet" in why(now)
    assert why(month + dt.timedelta(days=67)) == ""


def test_two_senders_do_not_send_one_push_twice(harbour: Organization, started: TwinProcess) -> None:
    import threading

    from django.db import connection

    started.control("forget")
    provider, now = _stripe(started), clock.now() + dt.timedelta(minutes=1)
    started.fault("latency", METER_EVENTS, seconds=1)

    def send() -> None:
        meter_export.export_due(provider=provider, now=now)
        connection.close()

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_until(lambda: not any(thread.is_alive() for thread in threads), seconds=30)

    assert len(started.calls("POST", METER_EVENTS)) == 1
    assert UsagePush.objects.get().status == PushStatus.ACKED
