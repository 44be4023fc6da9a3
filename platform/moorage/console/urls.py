"""Every address of the console. The first word of a page of an organization is its short name."""

from django.urls import path
from django.urls.resolvers import URLPattern, URLResolver

from moorage.console import (
    accounts,
    deploy,
    deployment_events,
    deployment_update,
    deployment_verbs,
    deployments,
    keys,
    limits,
    playground,
    registries,
    ui,
    urls_billing,
)

app_name = "console"
_DEPLOYMENT = "<slug:slug>/deployments/<slug:name>"

urlpatterns: list[URLPattern | URLResolver] = [
    path("", accounts.home, name="home"),
    path("sign-up", accounts.sign_up, name="sign_up"),
    path("sign-in", accounts.sign_in, name="sign_in"),
    path("sign-out", accounts.sign_out, name="sign_out"),
    path("organizations", accounts.organizations, name="organizations"),
    path("new", accounts.create_organization, name="create_organization"),
    path("ui", ui.gallery, name="ui"),
    *urls_billing.urlpatterns,
    path("<slug:slug>", deployments.listing, name="deployments"),
    path("<slug:slug>/deploy", deploy.new, name="deploy"),
    path(_DEPLOYMENT, deployments.deployment, name="deployment"),
    path(f"{_DEPLOYMENT}/edit", deploy.edit, name="edit"),
    path(f"{_DEPLOYMENT}/live", deployments.live, name="live"),
    path(f"{_DEPLOYMENT}/environment", deployments.environment, name="environment"),
    path(f"{_DEPLOYMENT}/replicas/<slug:replica_id>/log", deployment_events.replica_log, name="replica_log"),
    path(
        f"{_DEPLOYMENT}/replicas/<slug:replica_id>/log/stream",
        deployment_events.log_stream,
        name="replica_log_stream",
    ),
    path(f"{_DEPLOYMENT}/logs", deployment_events.log_page, name="logs"),
    path(f"{_DEPLOYMENT}/logs/stream", deployment_events.log_stream, name="log_stream"),
    path(f"{_DEPLOYMENT}/timeline", deployment_events.timeline, name="timeline"),
    path(f"{_DEPLOYMENT}/retry", deployment_verbs.try_again, name="try_again"),
    path(f"{_DEPLOYMENT}/pause", deployment_verbs.pause, name="pause"),
    path(f"{_DEPLOYMENT}/resume", deployment_verbs.resume, name="resume"),
    path(f"{_DEPLOYMENT}/delete", deployment_verbs.delete, name="delete"),
    path(f"{_DEPLOYMENT}/limits", limits.deployment, name="deployment_limits"),
    path(f"{_DEPLOYMENT}/update/promote", deployment_update.promote, name="promote"),
    path(f"{_DEPLOYMENT}/update/roll-back", deployment_update.roll_back, name="roll_back_update"),
    path(f"{_DEPLOYMENT}/roll-back/<int:number>", deployment_verbs.roll_back, name="roll_back"),
    path("<slug:slug>/playground", playground.playground, name="playground"),
    path("<slug:slug>/keys", keys.keys, name="keys"),
    path("<slug:slug>/keys/<slug:key_id>/revoke", keys.revoke, name="revoke_key"),
    path("<slug:slug>/keys/<slug:key_id>/limits", limits.key, name="key_limits"),
    path("<slug:slug>/limits", limits.organization, name="limits"),
    path("<slug:slug>/registries", registries.registries, name="registries"),
    path("<slug:slug>/registries/delete", registries.delete, name="delete_registry"),
    path("<slug:slug>/members", accounts.members, name="members"),
]
