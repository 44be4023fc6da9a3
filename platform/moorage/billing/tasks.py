"""What beat rings: rating every two seconds, the rest of billing every half minute. Ringing twice does no harm."""

from contextlib import ExitStack

from celery import shared_task

from moorage.billing import closing, outbox, providers, rater, wallet_allowance, wallet_watch, wallets, webhooks
from moorage.kernel import clock


@shared_task
def rate() -> None:
    """Rates whatever waits, and tells the gateways what is left."""
    rater.rate_all()
    wallet_allowance.keep()


@shared_task
def sweep() -> None:
    """Closes months that are due, sends what the provider has to hear, applies what it has said."""
    now = clock.now()
    available = providers.configured()
    with ExitStack() as steps:  # last in, first out; a step that fails keeps none of the others from running
        steps.callback(webhooks.ask_for_open, available=available, now=now)
        steps.callback(webhooks.apply_due, available=available, now=now)
        steps.callback(outbox.send_due, providers=available, now=now)
        steps.callback(closing.close_due, now=now)
        steps.callback(wallet_watch.alert, now=now)
        steps.callback(wallets.expire_due, now=now)
