"""A fixed month of 10,000 requests comes to what it always came to: each line, the credit, and the statement's hash."""

import datetime as dt
import json

import msgspec
import pytest

from moorage.accounts.actor import MOORAGE
from moorage.accounts.models import Organization
from moorage.billing import closing, ledger, queries, rater, statement, wallets
from moorage.billing.ledger import Account
from moorage.billing.models import GrantKind, Price, RatedUsage, Statement
from moorage.kernel import ids
from moorage.kernel.clock import Period
from moorage.metering import services as metering
from moorage.metering import usage_table
from tests.billing.golden import month
from tests.billing.measured import everything_shipped, request

OCTOBER = Period.month(2026, 10)
ANSWER = json.loads((month.FOLDER / "answer.json").read_text())


def test_the_file_is_what_the_script_makes_of_its_seed_and_the_answer_what_the_second_biller_makes_of_the_file() -> (
    None
):
    used = month.kept()

    assert used == month.generated()
    assert month.answer(used) == {name: value for name, value in ANSWER.items() if name != "statement_sha256"}
    assert len([one for one in used if not one.seconds]) == 10_000


@pytest.fixture
def organization(db: None) -> Organization:
    """The golden organization with its prices, its credit and its month, all of it measured and nothing rated."""
    made = Organization.objects.create(id=month.ORGANIZATION, slug="golden", name="Golden")
    for price in month.PRICES:
        Price.objects.create(
            id=price.id,
            meter=price.meter,
            model=price.prefix if price.is_exact else f"{price.prefix}*",
            pico_per_unit=max((pico for _, pico in price.tiers), default=price.pico),
            tiers=[{"from": begin, "pico": pico} for begin, pico in price.tiers],
            valid_from=price.begins,
            valid_to=price.ends,
            organization=made if price.owner else None,
            created_by="golden",
        )
    for number, pico in enumerate(month.CREDITS):
        kind, funded_by = (GrantKind.PROMOTIONAL, None) if number else (GrantKind.PAID, Account.MEMORY_CLEARING)
        wallets.grant(
            organization=made, kind=kind, pico=pico, source=f"golden:{number}", by=MOORAGE, funded_by=funded_by
        )
    used = month.kept()
    # Ids of their own: usage goes through tiers in one order.
    usage_table.put(
        msgspec.structs.replace(
            request(
                made.id,
                tokens=(one.input_tokens, one.cached_tokens, one.output_tokens),
                ended_at=one.ended,
                served_name=one.name,
                deployment_id=month.DEPLOYMENTS[one.name],
            ),
            request_id=f"req_golden{number:05d}",
        )
        for number, one in enumerate(used)
        if not one.seconds
    )
    for one in used:
        if one.seconds:
            metering.record_replica_time(
                organization_id=made.id,
                deployment_id=month.DEPLOYMENTS[one.name],
                revision_id="rev_golden",
                replica_id=ids.new("rep"),
                model_key=one.name,
                started_at=one.ended - dt.timedelta(seconds=one.seconds),
                ended_at=one.ended,
            )
    return made


def test_the_golden_month_comes_to_its_known_answer(organization: Organization) -> None:
    while rater.rate_batch(limit=1777).rated:
        pass
    everything_shipped(OCTOBER.end)

    (closed,) = closing.close_due(now=OCTOBER.end + closing.GRACE)

    frozen = Statement.objects.get(pk=closed.statement_id)
    sums: dict[tuple[str, str], list[int]] = {}
    for line in statement.parse(frozen.document).lines:
        summed = sums.setdefault((line.served_name, line.meter), [0, 0])
        summed[0] += line.quantity
        summed[1] += line.amount_pico
    assert [[*key, quantity, str(pico)] for key, (quantity, pico) in sorted(sums.items())] == ANSWER["lines"]
    assert str(frozen.total_pico) == ANSWER["total_pico"]
    assert str(frozen.credit_applied_pico) == ANSWER["credit_applied_pico"]
    assert frozen.total_pico - frozen.credit_applied_pico == int(ANSWER["due_pico"])
    assert frozen.sha256 == ANSWER["statement_sha256"]
    text = queries.frozen_text(organization=organization, period=OCTOBER)
    assert text is not None and statement.sha256(text) == ANSWER["statement_sha256"]
    assert RatedUsage.objects.values("source_id").distinct().count() <= 10_120
    assert list(ledger.prove().differences()) == []
