"""What an administrator's review reads and sends: queues, approvals, reconciliation, anomalies, margin, audit."""

from typing import Any

from rest_framework import serializers

from moorage.accounts.models import AuditEntry
from moorage.api.fields import Fields
from moorage.api.paging import PageFields
from moorage.api.serializers_administrator import OrganizationInvoiceSerializer, ReasonFields
from moorage.api.serializers_keys import OrganizationSerializer
from moorage.api.serializers_money import MoneyField
from moorage.billing.models import (
    AnomalyKind,
    ApprovalKind,
    ApprovalRequest,
    ApprovalStatus,
    BillingMonth,
    ReconciliationRun,
    UsageAnomaly,
)
from moorage.billing.provenance import Provenance
from moorage.billing.reconciliation.jobs import JOBS, Job
from moorage.billing.review import UnpricedUsage
from moorage.billing.review_queue import Waiting
from moorage.kernel.money import PICO_PER_CENT

_AMOUNT = r"^[0-9]{1,12}(\.[0-9]{1,2})?$"


class FormatFields(Fields):
    """As JSON or for a spreadsheet."""

    format = serializers.ChoiceField(choices=[("json", "json"), ("csv", "csv")], required=False, help_text="`csv` too.")


class AdjustFields(ReasonFields):
    """How much of an invoice is taken back."""

    amount = serializers.RegexField(
        _AMOUNT,
        default=None,
        allow_null=True,
        help_text="Before tax, a decimal string of at most two decimals. Null: all that is left.",
    )
    is_to_wallet = serializers.BooleanField(
        default=False, help_text="What was paid already becomes credit instead of a refund."
    )


class CreditFields(ReasonFields):
    """Promotional credit."""

    amount = serializers.RegexField(_AMOUNT, help_text="A decimal string of at most two decimals, such as `12.50`.")
    key = serializers.CharField(max_length=80, help_text="Yours: a second call with it gives nothing more.")
    expires_at = serializers.DateTimeField(default=None, allow_null=True, help_text="Null: never.")


class ApprovalsFields(PageFields):
    """Which requests."""

    status = serializers.ChoiceField(choices=ApprovalStatus.choices, required=False, help_text="In this status alone.")


class OptionalReasonFields(Fields):
    """Why, if there is something to say."""

    reason = serializers.CharField(default="", allow_blank=True, max_length=2000)


class RunsFields(PageFields, FormatFields):
    """Which runs."""

    job = serializers.ChoiceField(choices=[(job, job) for job in Job], required=False, help_text="Of this job alone.")


class AcknowledgeRunFields(ReasonFields):
    """Up to which run, and what was done."""

    until = serializers.IntegerField(min_value=1, help_text="The newest run that you have looked at.")


class AnomaliesFields(PageFields, FormatFields):
    """Which anomalies."""

    is_open = serializers.BooleanField(default=True, help_text="Only those that nobody has seen to.")


class AuditFields(PageFields, FormatFields):
    """Which entries; all that is said must fit."""

    organization = serializers.CharField(required=False, max_length=40, help_text="Its short name.")
    actor = serializers.CharField(required=False, max_length=80, help_text="An id, or what people read.")
    action = serializers.CharField(required=False, max_length=80, help_text="Or its first word, such as `invoice`.")
    subject = serializers.CharField(required=False, max_length=120, help_text="What it was done to.")
    since = serializers.DateTimeField(required=False, help_text="Not before.")
    until = serializers.DateTimeField(required=False, help_text="Before.")


class WaitingSerializer(serializers.Serializer[Waiting]):
    """An invoice that waits for an administrator."""

    invoice = OrganizationInvoiceSerializer()
    why = serializers.CharField(help_text="For people.")
    is_disputed = serializers.BooleanField()
    since = serializers.DateTimeField()
    last_total = serializers.SerializerMethodField(help_text="Of the month before; null where there was no invoice.")
    change_percent = serializers.IntegerField(allow_null=True, help_text="Against it, rounded down.")

    def get_last_total(self, waiting: Waiting) -> str | None:
        """Cents as a decimal of the currency."""
        return None if waiting.last_cents is None else f"{waiting.last_cents // 100}.{waiting.last_cents % 100:02d}"


class ApprovalSerializer(serializers.Serializer[ApprovalRequest]):
    """A deed that waits, or waited, for another administrator."""

    id = serializers.CharField()
    kind = serializers.ChoiceField(choices=ApprovalKind.choices)
    status = serializers.ChoiceField(choices=ApprovalStatus.choices)
    organization = OrganizationSerializer()
    invoice_id = serializers.CharField(allow_blank=True)
    amount = MoneyField(source="amount_pico", currency="organization.currency")
    reason = serializers.CharField()
    requested_by = serializers.CharField()
    requested_at = serializers.DateTimeField()
    decided_by = serializers.CharField(allow_blank=True)
    decided_at = serializers.DateTimeField(allow_null=True)
    decided_because = serializers.CharField(allow_blank=True)


class FindingSerializer(serializers.Serializer):
    """One difference."""

    code = serializers.CharField(help_text="Branch on this.")
    sentence = serializers.CharField()
    subject = serializers.CharField()
    organization_id = serializers.CharField(required=False)
    request_id = serializers.CharField(required=False)
    invoice_id = serializers.CharField(required=False)
    deployment_id = serializers.CharField(required=False)


class RunSerializer(serializers.Serializer[ReconciliationRun]):
    """One comparison, made or asked for."""

    id = serializers.IntegerField()
    job = serializers.ChoiceField(choices=[(job, job) for job in Job])
    asked_by = serializers.CharField(allow_blank=True)
    started_at = serializers.DateTimeField(allow_null=True, help_text="Null: it is asked for.")
    ended_at = serializers.DateTimeField(allow_null=True)
    is_clean = serializers.BooleanField(allow_null=True, help_text="Null until it has ended.")
    compared = serializers.IntegerField(help_text="Facts that were looked at.")
    finding_count = serializers.IntegerField()
    findings = FindingSerializer(many=True, help_text="The first fifty.")
    note = serializers.CharField(allow_blank=True, help_text="What could not be compared, and why.")
    acknowledged_at = serializers.DateTimeField(allow_null=True)
    acknowledged_by = serializers.CharField(allow_blank=True)
    acknowledged_because = serializers.CharField(allow_blank=True)


class JobSerializer(serializers.Serializer):
    """One of the eight jobs with its newest run."""

    job = serializers.ChoiceField(choices=[(job, job) for job in Job])
    title = serializers.CharField()
    compares = serializers.CharField()
    every_seconds = serializers.IntegerField()
    last_run = RunSerializer(allow_null=True, help_text="Null: it has never run.")
    open_runs = serializers.IntegerField(help_text="Runs that found something nobody has seen to.")


class AnomalySerializer(serializers.Serializer[UsageAnomaly]):
    """Usage of one day that is not like that of the days before."""

    id = serializers.IntegerField()
    kind = serializers.ChoiceField(choices=AnomalyKind.choices)
    organization_id = serializers.CharField()
    subject_kind = serializers.CharField(help_text="`organization`, `key` or `deployment`.")
    subject_id = serializers.CharField()
    day = serializers.DateField()
    figure = serializers.IntegerField(help_text="Tokens or requests of the day.")
    usual = serializers.IntegerField()
    sentence = serializers.CharField()
    found_at = serializers.DateTimeField()
    acknowledged_at = serializers.DateTimeField(allow_null=True)
    acknowledged_by = serializers.CharField(allow_blank=True)
    acknowledged_because = serializers.CharField(allow_blank=True)


class UnpricedUsageSerializer(serializers.Serializer[UnpricedUsage]):
    """Usage without a price: in no amount until somebody sets one."""

    organization_id = serializers.CharField()
    meter = serializers.CharField()
    model = serializers.CharField()
    count = serializers.IntegerField()
    since = serializers.DateTimeField()
    currency = serializers.CharField(allow_blank=True, help_text="What the organization pays in.")
    priced_in = serializers.ListField(
        child=serializers.CharField(), help_text="Other currencies in which there is a price of it."
    )


class HeldMonthSerializer(serializers.Serializer[BillingMonth]):
    """A month that is due and not closed."""

    id = serializers.IntegerField()
    organization_id = serializers.CharField()
    period = serializers.SerializerMethodField()
    reason = serializers.CharField(source="held_reason")

    def get_period(self, month: BillingMonth) -> str:
        """``2026-10``."""
        return f"{month.period_start:%Y-%m}"


class AuditEntrySerializer(serializers.Serializer[AuditEntry]):
    """Who did what, and why."""

    id = serializers.CharField()
    at = serializers.DateTimeField()
    actor = serializers.CharField()
    action = serializers.CharField()
    subject = serializers.CharField()
    organization = OrganizationSerializer(allow_null=True)
    detail = serializers.DictField(child=serializers.JSONField(), help_text="`by` is what people read, `reason` why.")


class ProvenanceSerializer(serializers.Serializer[Provenance]):
    """Where a request's figures come from."""

    request_id = serializers.CharField()
    source = serializers.CharField(  # type: ignore[assignment]
        help_text="Who counted: `engine`, `engine_running`, `gateway` or `none`."
    )
    is_disputed = serializers.BooleanField()
    boot_id = serializers.CharField(allow_blank=True, help_text="The gateway worker: the name of its journal.")
    worker_started_at = serializers.DateTimeField(allow_null=True)
    worker_heartbeat_at = serializers.DateTimeField(allow_null=True)
    shipped_at = serializers.DateTimeField(allow_null=True, help_text="When all of its journal was shipped.")
    segments = serializers.SerializerMethodField()
    recorded_at = serializers.DateTimeField()

    def get_segments(self, provenance: Provenance) -> list[dict[str, Any]]:
        """Those that are still there."""
        return [{"name": name, "offset": offset} for name, offset in provenance.segments]


def job_documents(latest: dict[Job, ReconciliationRun], open_runs: dict[str, int]) -> list[dict[str, Any]]:
    """What JobSerializer shows of each."""
    return [
        {
            "job": str(job),
            "title": words.title,
            "compares": words.compares,
            "every_seconds": int(words.every.total_seconds()),
            "last_run": latest.get(job),
            "open_runs": open_runs.get(str(job), 0),
        }
        for job, words in JOBS.items()
    ]


def cents_of(amount: str) -> int:
    """``12.5`` as 1250."""
    whole, _, fraction = amount.partition(".")
    return int(whole) * 100 + int(fraction.ljust(2, "0"))


def pico_of(amount: str) -> int:
    """``12.5`` in pico-units."""
    return cents_of(amount) * PICO_PER_CENT
