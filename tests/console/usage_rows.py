"""October of the harbour, measured and rated by the rooms themselves: what the pages have to show."""

from moorage.accounts.models import Organization
from moorage.billing import closing, queries, rater
from moorage.billing.models import Invoice
from moorage.billing.statement import Line
from tests.billing.measured import CLOSING, OCTOBER, everything_shipped, price_list, run, use

MONTH = "2026-10"


def october(organization: Organization, *, tokens: tuple[int, int, int] = (1234, 200, 567)) -> str:
    """One rated request and 90 replica seconds; the request's id."""
    price_list()
    request_id = use(organization, tokens=tokens)
    run(organization, seconds=90)
    rater.rate_all()
    return request_id


def line_of(organization: Organization, meter: str) -> Line:
    """The line of October's statement with this meter."""
    lines = queries.statement(organization=organization, period=OCTOBER).statement.lines
    return next(line for line in lines if line.meter == meter)


def closed_october(organization: Organization) -> Invoice:
    """October's invoice, waiting for a review as an organization's first one does."""
    october(organization, tokens=(1234, 200, 2_000_000))
    everything_shipped()
    closing.close_period(OCTOBER, CLOSING)
    return Invoice.objects.get(organization=organization)
