"""What a comparison is asked for and asks, what it has found, and books in which it finds nothing."""

import datetime as dt

import pytest

from moorage.billing import rater, wallets
from moorage.billing.models import GrantKind, Wallet
from moorage.billing.reconciliation.findings import Finding, Window
from moorage.fleet.runtime import Container
from moorage.kernel import clock
from moorage.kernel.money import PICO
from tests.billing.measured import price_list, use
from tests.cast import Cast

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
MINUTE, HOUR, DAY = dt.timedelta(minutes=1), dt.timedelta(hours=1), dt.timedelta(days=1)


def window(now: dt.datetime | None = None) -> Window:
    """Everything of the last day, up to now."""
    moment = now or clock.now() + MINUTE
    return Window(since=moment - DAY, until=moment, now=moment)


def codes(findings: tuple[Finding, ...]) -> list[str]:
    """What was found."""
    return [finding.code for finding in findings]


class Runtime:
    """A runtime that knows these containers."""

    def __init__(self, *containers: Container) -> None:
        self._containers = containers

    def list(self) -> tuple[Container, ...]:
        """See the port."""
        return self._containers


@pytest.fixture
def funded(cast: Cast) -> Wallet:
    """Harbour with ten dollars of credit and some usage."""
    price_list()
    wallets.grant(
        organization=cast.alice.organization,
        kind=GrantKind.PROMOTIONAL,
        pico=10 * PICO,
        source="t",
        by=cast.alice.actor,
    )
    use(cast.alice.organization, ended_at=clock.now() - HOUR)
    rater.rate_all()
    return Wallet.objects.get(organization=cast.alice.organization)
