"""What beat rings: rating every two seconds, the rest of billing every half minute. Ringing twice does no harm."""

from contextlib import ExitStack

from celery import shared_task

from moorage.billing import (
    closing,
    collecting,
    meter_export,
    outbox,
    providers,
    rater,
    serving,
    settlement,
    topups,
    usage_watch,
    wallet_allowance,
    wallet_watch,
    wallets,
    webhooks,
)
from moorage.billing.reconciliation import runs
from moorage.fleet import runtimes
from moorage.kernel import clock


@shared_task
def rate() -> None:
    """Rates whatever waits, and tells the gateways what is left and the deployments who may run."""
    rater.rate_all()
    settlement.settle_due(now=clock.now())
    wallet_allowance.keep()
    serving.keep(now=clock.now())


@shared_task
def sweep() -> None:
    """Closes months that are due, sends what the provider has to hear, applies what it has said."""
    now = clock.now()
    available = providers.configured()
    with ExitStack() as steps:  # last in, first out; a step that fails keeps none of the others from running
        steps.callback(collecting.dun, now=now)
        steps.callback(webhooks.ask_for_open, available=available, now=now)
        steps.callback(webhooks.apply_due, available=available, now=now)
        steps.callback(webhooks.poll, available=available, now=now)
        steps.callback(outbox.send_due, providers=available, now=now)
        for provider in available.values():
            steps.callback(meter_export.export_due, provider=provider, now=now)
        steps.callback(topups.charge_due, now=now)
        steps.callback(closing.close_due, now=now)
        steps.callback(wallet_watch.alert, now=now)
        steps.callback(wallets.expire_due, now=now)


@shared_task
def reconcile() -> None:
    """Makes the comparisons that are due, or that somebody asked for."""
    runs.run_due(runs.jobs(providers=providers.configured()), now=clock.now())


@shared_task
def reconcile_runtime() -> None:
    """The same of those that ask containers and their engines: for the provisioning worker."""
    runs.run_due(runs.runtime_jobs(runtime=runtimes.configured()), now=clock.now())


@shared_task
def watch_usage() -> None:
    """Adds up what has arrived and looks for what is unusual."""
    usage_watch.watch(now=clock.now())
