"""The addresses of usage, statements, invoices and the administrator's pages; urls.py includes them at the root.

``admin`` is a reserved first word: its addresses stand before those that begin with an organization's short name.
"""

from django.urls import path
from django.urls.resolvers import URLPattern, URLResolver

from moorage.console import (
    administrator,
    administrator_invoices,
    administrator_keys,
    administrator_nodes,
    administrator_prices,
    statements,
    usage,
    wallet,
)

_ORGANIZATION = "admin/organizations/<slug:slug>"
urlpatterns: list[URLPattern | URLResolver] = [
    path("admin", administrator.organizations, name="admin"),
    path("admin/organizations", administrator.organizations, name="admin_organizations"),
    path(_ORGANIZATION, administrator.organization, name="admin_organization"),
    path(f"{_ORGANIZATION}/statement.csv", administrator.statement_csv, name="admin_statement_csv"),
    path(f"{_ORGANIZATION}/statement.json", administrator.statement_json, name="admin_statement_json"),
    path(f"{_ORGANIZATION}/lines/<slug:line_id>", administrator.line, name="admin_line"),
    path(f"{_ORGANIZATION}/requests", administrator.requests, name="admin_requests"),
    path(f"{_ORGANIZATION}/requests/<slug:request_id>", administrator.request_page, name="admin_request"),
    path(f"{_ORGANIZATION}/wallet", wallet.administered, name="admin_wallet"),
    path("admin/find-request", administrator.find_request, name="admin_find_request"),
    path("admin/prices", administrator_prices.price_list, name="admin_prices"),
    path("admin/invoices", administrator_invoices.invoices, name="admin_invoices"),
    path("admin/invoices/<slug:invoice_id>", administrator_invoices.invoice, name="admin_invoice"),
    path(
        "admin/invoices/<slug:invoice_id>/<slug:verb>", administrator_invoices.invoice_verb, name="admin_invoice_verb"
    ),
    path("admin/outbox/<slug:message_id>/retry", administrator_invoices.retry_message, name="admin_retry_message"),
    path("admin/nodes", administrator_nodes.nodes, name="admin_nodes"),
    path("admin/api-keys", administrator_keys.keys, name="admin_keys"),
    path("admin/api-keys/<slug:key_id>/revoke", administrator_keys.revoke_key, name="admin_revoke_key"),
    path("<slug:slug>/usage", usage.usage, name="usage"),
    path("<slug:slug>/usage/requests", usage.requests, name="requests"),
    path("<slug:slug>/usage/requests/<slug:request_id>", usage.request_page, name="request"),
    path("<slug:slug>/statement", statements.statement, name="statement"),
    path("<slug:slug>/statement.csv", statements.statement_csv, name="statement_csv"),
    path("<slug:slug>/statement.json", statements.statement_json, name="statement_json"),
    path("<slug:slug>/statement/lines/<slug:line_id>", statements.statement_line, name="statement_line"),
    path("<slug:slug>/invoices", statements.invoices, name="invoices"),
    path("<slug:slug>/invoices/<slug:invoice_id>", statements.invoice, name="invoice"),
    path("<slug:slug>/wallet", wallet.wallet, name="wallet"),
    path("<slug:slug>/wallet/top-up", wallet.top_up, name="top_up_wallet"),
]
