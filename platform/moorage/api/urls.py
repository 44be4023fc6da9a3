"""Every address of the REST API, under /api/v1/."""

from django.urls import path, re_path, register_converter
from django.urls.converters import StringConverter
from django.urls.resolvers import URLPattern, URLResolver

from moorage.api import (
    administrator,
    administrator_approvals,
    administrator_audit,
    administrator_billing,
    administrator_credit,
    administrator_nodes,
    administrator_prices,
    administrator_remains,
    administrator_review,
    administrator_trouble,
    administrator_watch,
    bills,
    currency,
    deployment_verbs,
    deployments,
    environments,
    health,
    isolation,
    keys,
    limits,
    logs,
    openapi,
    payment,
    registries,
    replicas,
    revisions,
    scale_decisions,
    statements,
    timeline,
    updates,
    usage,
    wallet,
)
from moorage.api.errors import unknown_address


class SegmentConverter(StringConverter):
    """One part of a path without control characters: PostgreSQL takes no NUL, and no name has the others."""

    regex = r"[^/\x00-\x1f\x7f]+"


class NumberConverter:
    """A number that PostgreSQL's integer holds; what is larger is no address."""

    regex = r"[0-9]{1,9}"

    def to_python(self, value: str) -> int:
        """The number."""
        return int(value)

    def to_url(self, value: int) -> str:
        """Its digits."""
        return str(value)


class KindConverter(StringConverter):
    """The end of a bill's file name."""

    regex = "pdf|csv|json"


register_converter(KindConverter, "kind")
register_converter(SegmentConverter, "segment")
register_converter(NumberConverter, "number")

app_name = "api"
_DEPLOYMENT = "deployments/<segment:name>"
_INVOICE = "admin/invoices/<segment:invoice_id>"
_APPROVAL = "admin/approvals/<segment:approval_id>"
urlpatterns: list[URLPattern | URLResolver] = [
    path("deployments", deployments.DeploymentsView.as_view(), name="deployments"),
    path(_DEPLOYMENT, deployments.DeploymentView.as_view(), name="deployment"),
    path(f"{_DEPLOYMENT}/environment", environments.EnvironmentView.as_view(), name="environment"),
    path(f"{_DEPLOYMENT}/rollback", deployment_verbs.RollbackView.as_view(), name="rollback"),
    path(f"{_DEPLOYMENT}/update", updates.UpdateView.as_view(), name="update"),
    path(f"{_DEPLOYMENT}/update/promote", updates.PromoteView.as_view(), name="promote"),
    path(f"{_DEPLOYMENT}/update/roll-back", updates.RollBackUpdateView.as_view(), name="roll_back_update"),
    path(f"{_DEPLOYMENT}/pause", deployment_verbs.PauseView.as_view(), name="pause"),
    path(f"{_DEPLOYMENT}/resume", deployment_verbs.ResumeView.as_view(), name="resume"),
    path(f"{_DEPLOYMENT}/revisions", revisions.RevisionsView.as_view(), name="revisions"),
    path(f"{_DEPLOYMENT}/revisions/<number:number>", revisions.RevisionView.as_view(), name="revision"),
    path(f"{_DEPLOYMENT}/replicas", replicas.ReplicasView.as_view(), name="replicas"),
    path(
        f"{_DEPLOYMENT}/replicas/<segment:replica_id>/isolation",
        isolation.ReplicaIsolationView.as_view(),
        name="replica_isolation",
    ),
    path(f"{_DEPLOYMENT}/replicas/<segment:replica_id>/logs", logs.ReplicaLogsView.as_view(), name="replica_logs"),
    path(f"{_DEPLOYMENT}/limits", limits.DeploymentLimitsView.as_view(), name="deployment_limits"),
    path(f"{_DEPLOYMENT}/logs", logs.DeploymentLogsView.as_view(), name="deployment_logs"),
    path(f"{_DEPLOYMENT}/retry", deployment_verbs.RetryView.as_view(), name="retry"),
    path(f"{_DEPLOYMENT}/scale-decisions", scale_decisions.ScaleDecisionsView.as_view(), name="scale_decisions"),
    path(f"{_DEPLOYMENT}/timeline", timeline.TimelineView.as_view(), name="timeline"),
    path("keys", keys.KeysView.as_view(), name="keys"),
    path("keys/<segment:key_id>", keys.KeyByIdView.as_view(), name="key"),
    path("keys/<segment:key_id>/limits", limits.KeyLimitsView.as_view(), name="key_limits"),
    path("limits", limits.OrganizationLimitsView.as_view(), name="limits"),
    path("whoami", keys.WhoamiView.as_view(), name="whoami"),
    path("registries", registries.RegistriesView.as_view(), name="registries"),
    path("registries/<segment:host>", registries.RegistryView.as_view(), name="registry"),
    path("usage", usage.UsageView.as_view(), name="usage"),
    path("usage/requests", usage.RequestsView.as_view(), name="requests"),
    path("usage/requests/<segment:request_id>", usage.RequestView.as_view(), name="request"),
    path("statement", statements.StatementView.as_view(), name="statement"),
    path("statement/export", bills.StatementExportView.as_view(), name="statement_export"),
    path("statement/verifier", bills.VerifierView.as_view(), name="verifier"),
    path("statements", statements.StatementsView.as_view(), name="statements"),
    path("invoices", statements.InvoicesView.as_view(), name="invoices"),
    path("invoices/<segment:invoice_id>.<kind:kind>", bills.InvoiceFileView.as_view(), name="invoice_file"),
    path("invoices/<segment:invoice_id>", bills.InvoiceView.as_view(), name="invoice"),
    path("credit-notes", bills.CreditNotesView.as_view(), name="credit_notes"),
    path(
        "credit-notes/<segment:credit_note_id>.<kind:kind>", bills.CreditNoteFileView.as_view(), name="credit_note_file"
    ),
    path("credit-notes/<segment:credit_note_id>", bills.CreditNoteView.as_view(), name="credit_note"),
    path("billing-details", bills.BillingDetailsView.as_view(), name="billing_details"),
    path("wallet", wallet.WalletView.as_view(), name="wallet"),
    path("wallet/movements", wallet.MovementsView.as_view(), name="movements"),
    path("wallet/top-ups", wallet.TopUpsView.as_view(), name="top_ups"),
    path("wallet/top-ups/<segment:top_up_id>", payment.TopUpView.as_view(), name="top_up"),
    path("payment", payment.PaymentView.as_view(), name="payment"),
    path("payment/setup", payment.PaymentSetupView.as_view(), name="payment_setup"),
    path("payment/portal", payment.PaymentPortalView.as_view(), name="payment_portal"),
    path("admin/organizations", administrator.OrganizationsView.as_view(), name="admin_organizations"),
    path(
        "admin/organizations/<segment:slug>/statement",
        administrator.OrganizationStatementView.as_view(),
        name="admin_statement",
    ),
    path(
        "admin/organizations/<segment:slug>/requests",
        administrator.OrganizationRequestsView.as_view(),
        name="admin_requests",
    ),
    path(
        "admin/organizations/<segment:slug>/billing-mode",
        wallet.AdministratorModeView.as_view(),
        name="admin_billing_mode",
    ),
    path("admin/requests/<segment:request_id>", administrator.AnyRequestView.as_view(), name="admin_request"),
    path("admin/nodes/<segment:name>", administrator_nodes.NodeView.as_view(), name="admin_node"),
    path("admin/nodes/<segment:name>/marks", administrator_nodes.NodeMarksView.as_view(), name="admin_node_marks"),
    path("admin/nodes/<segment:name>/drain", administrator_nodes.DrainNodeView.as_view(), name="admin_drain_node"),
    path("admin/nodes/<segment:name>/resume", administrator_nodes.ResumeNodeView.as_view(), name="admin_resume_node"),
    path("admin/nodes", administrator.NodesView.as_view(), name="admin_nodes"),
    path("admin/prices", administrator_prices.PricesView.as_view(), name="admin_prices"),
    path("admin/prices/dry-run", administrator_prices.DryRunView.as_view(), name="admin_price_dry_run"),
    path("admin/prices/<segment:price_id>/end", administrator_prices.EndPriceView.as_view(), name="admin_end_price"),
    path("admin/costs", administrator_prices.CostsView.as_view(), name="admin_costs"),
    path("admin/minimums", administrator_prices.MinimumsView.as_view(), name="admin_minimums"),
    path("admin/invoices", administrator_billing.AllInvoicesView.as_view(), name="admin_invoices"),
    path(f"{_INVOICE}/approve", administrator_billing.ApproveView.as_view(), name="admin_approve"),
    path(f"{_INVOICE}/void", administrator_billing.VoidView.as_view(), name="admin_void"),
    path(f"{_INVOICE}/mark-paid", administrator_billing.MarkPaidView.as_view(), name="admin_mark_paid"),
    path(f"{_INVOICE}/send-back", administrator_review.SendBackView.as_view(), name="admin_send_back"),
    path(f"{_INVOICE}/book-refund", administrator_credit.BookRefundView.as_view(), name="admin_book_refund"),
    path(f"{_INVOICE}/adjust", administrator_review.AdjustView.as_view(), name="admin_adjust"),
    path(
        f"{_INVOICE}/mark-uncollectible", administrator_review.UncollectibleView.as_view(), name="admin_uncollectible"
    ),
    path("admin/review", administrator_review.QueueView.as_view(), name="admin_review"),
    path("admin/approvals", administrator_approvals.ApprovalsView.as_view(), name="admin_approvals"),
    path(f"{_APPROVAL}/approve", administrator_approvals.ApproveRequestView.as_view(), name="admin_approve_request"),
    path(f"{_APPROVAL}/refuse", administrator_approvals.RefuseRequestView.as_view(), name="admin_refuse_request"),
    path(f"{_APPROVAL}/withdraw", administrator_approvals.WithdrawRequestView.as_view(), name="admin_withdraw_request"),
    path("admin/outbox", administrator_trouble.OutboxView.as_view(), name="admin_outbox"),
    path(
        "admin/outbox/<segment:message_id>/retry",
        administrator_trouble.RetryMessageView.as_view(),
        name="admin_retry_message",
    ),
    path(
        "admin/outbox/<segment:message_id>/give-up",
        administrator_trouble.GiveUpMessageView.as_view(),
        name="admin_give_up_message",
    ),
    path("admin/webhooks", administrator_trouble.WebhooksView.as_view(), name="admin_webhooks"),
    path(
        "admin/webhooks/<segment:event_id>/retry",
        administrator_trouble.RetryWebhookView.as_view(),
        name="admin_retry_webhook",
    ),
    path(
        "admin/webhooks/<segment:event_id>/give-up",
        administrator_trouble.GiveUpWebhookView.as_view(),
        name="admin_give_up_webhook",
    ),
    path(
        "admin/requests/<segment:request_id>/source",
        administrator_review.ProvenanceView.as_view(),
        name="admin_request_source",
    ),
    path("admin/organizations/<segment:slug>/credit", administrator_review.CreditView.as_view(), name="admin_credit"),
    path(
        "admin/organizations/<segment:slug>/top-ups",
        administrator_credit.OrganizationTopUpsView.as_view(),
        name="admin_top_ups",
    ),
    path(
        "admin/organizations/<segment:slug>/refunds", administrator_credit.RefundsView.as_view(), name="admin_refunds"
    ),
    path(
        "admin/top-ups/<segment:top_up_id>/received",
        administrator_credit.TopUpReceivedView.as_view(),
        name="admin_top_up_received",
    ),
    path("admin/payouts", administrator_credit.PayoutsView.as_view(), name="admin_payouts"),
    path("admin/payouts/<segment:credit_note_id>", administrator_credit.PaidOutView.as_view(), name="admin_paid_out"),
    path("admin/refunds/uncovered", administrator_trouble.UncoveredRefundsView.as_view(), name="admin_uncovered"),
    path(
        "admin/refunds/<segment:refund_id>/accept-loss",
        administrator_trouble.AcceptLossView.as_view(),
        name="admin_accept_loss",
    ),
    path("admin/usage-pushes", administrator_credit.UsagePushesView.as_view(), name="admin_usage_pushes"),
    path(
        "admin/usage-pushes/<segment:push_id>/resolve",
        administrator_credit.ResolveUsagePushView.as_view(),
        name="admin_resolve_usage_push",
    ),
    path(
        "admin/organizations/<segment:slug>/limits",
        administrator_audit.AnyOrganizationLimitsView.as_view(),
        name="admin_limits",
    ),
    path(
        "admin/organizations/<segment:slug>/trust-class",
        isolation.TrustClassView.as_view(),
        name="admin_trust_class",
    ),
    path(
        "admin/organizations/<segment:slug>/currency",
        currency.OrganizationCurrencyView.as_view(),
        name="admin_currency",
    ),
    path("admin/hosts", isolation.HostsView.as_view(), name="admin_hosts"),
    path("admin/reconciliation", administrator_watch.ReconciliationView.as_view(), name="admin_reconciliation"),
    path("admin/reconciliation/runs", administrator_watch.RunsView.as_view(), name="admin_runs"),
    path("admin/reconciliation/<segment:job>/run", administrator_watch.RunJobView.as_view(), name="admin_run"),
    path(
        "admin/reconciliation/<segment:job>/acknowledge",
        administrator_watch.AcknowledgeJobView.as_view(),
        name="admin_acknowledge_job",
    ),
    path("admin/anomalies", administrator_watch.AnomaliesView.as_view(), name="admin_anomalies"),
    path(
        "admin/anomalies/<number:anomaly_id>/acknowledge",
        administrator_watch.AcknowledgeAnomalyView.as_view(),
        name="admin_acknowledge_anomaly",
    ),
    path("admin/margin", administrator_watch.MarginView.as_view(), name="admin_margin"),
    path("admin/unpriced", administrator_watch.UnpricedView.as_view(), name="admin_unpriced"),
    path("admin/held-months", administrator_watch.HeldMonthsView.as_view(), name="admin_held_months"),
    path("admin/remains", administrator_remains.RemainsView.as_view(), name="admin_remains"),
    path("admin/audit", administrator_audit.AuditView.as_view(), name="admin_audit"),
    path("openapi.json", openapi.OpenApiView.as_view(), name="openapi"),
    path("healthz", health.HealthView.as_view(), name="healthz"),
    path("readyz", health.ReadinessView.as_view(), name="readyz"),
    re_path(r"", unknown_address, name="unknown"),
]
