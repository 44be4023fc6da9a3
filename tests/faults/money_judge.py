"""The judge of the money path: the till's own journal and the twin's against the books, to the pico-dollar."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from tests.billing.reference_biller import ListedPrice, Used, charges
from tests.faults.treasury import Sale, Treasury
from tests.stripe_twin.process import TwinProcess

PICO_PER_CENT = 10**10


def judge_usage(treasury: Treasury, sales: Iterable[Sale]) -> list[str]:
    """Every request of the till is in the table, rated once and charged once, in one month, at its price."""
    sold = {sale.request_id: sale for sale in sales}
    found = treasury.rows("SELECT request_id, input_tokens, cached_tokens, output_tokens FROM usage_event")
    complaints = [f"{row[0]} was never sold" for row in found if row[0] not in sold]
    complaints += [
        f"{row[0]} is {row[1:]}, not {sold[row[0]].tokens}" for row in found if sold[row[0]].tokens != row[1:]
    ]
    complaints += [f"{missing} is lost" for missing in sold.keys() - {row[0] for row in found}]
    listed = [
        ListedPrice(meter=meter, prefix="", is_exact=False, pico=pico, begins=begins)
        for meter, pico, begins in treasury.rows("SELECT meter, pico_per_unit, valid_from FROM price")
    ]
    used = [
        Used(
            name="demo/llm",
            input_tokens=sale.tokens[0],
            cached_tokens=sale.tokens[1],
            output_tokens=sale.tokens[2],
            ended=sale.ended,
            owner=sale.organization_id,
        )
        for sale in sold.values()
    ]
    theirs: Counter[str] = Counter()
    for charge in charges(used, listed):
        theirs[charge.owner] += charge.pico
    ours = _by_id(treasury, "SELECT organization_id, sum(amount_pico) FROM rated_usage GROUP BY 1")
    complaints += _differences("rated", ours, theirs)
    charged = _by_id(
        treasury,
        "SELECT organization_id, sum(pico) FROM (SELECT organization_id, total_pico AS pico FROM statement UNION ALL"
        " SELECT organization_id, amount_pico FROM rated_usage r WHERE NOT EXISTS (SELECT FROM statement s WHERE"
        " s.organization_id = r.organization_id AND s.period_start = r.period_start)) charged GROUP BY 1",
    )
    complaints += _differences("on statements and in open months", charged, theirs)
    (waiting,) = treasury.rows("SELECT count(*) FROM unrated_usage")[0]
    return complaints + ([f"{waiting} requests are not rated"] if waiting else [])


def judge_statements(treasury: Treasury, seen: Mapping[str, str]) -> list[str]:
    """Whatever was ever seen frozen is there as it was, and its hash is that of its text."""
    complaints = []
    now = {row[0]: (row[1], row[2]) for row in treasury.rows("SELECT id, sha256, document FROM statement")}
    for statement_id, sha256 in seen.items():
        if statement_id not in now or now[statement_id][0] != sha256:
            complaints.append(f"statement {statement_id} was frozen and is another now")
    for statement_id, (sha256, document) in now.items():
        if hashlib.sha256(document.encode()).hexdigest() != sha256:
            complaints.append(f"statement {statement_id} does not have its hash")
        if int(json.loads(document)["total_pico"]) != _one(treasury, "total_pico", "statement", statement_id):
            complaints.append(f"statement {statement_id} does not come to its total")
    for row in treasury.rows(
        "SELECT organization_id, period_start, count(*) FROM statement GROUP BY 1, 2 HAVING count(*) > 1"
    ):
        complaints.append(f"{row} is frozen more than once")
    (alone,) = treasury.rows(
        "SELECT count(*) FROM statement s WHERE NOT EXISTS (SELECT FROM invoice i WHERE i.statement_id = s.id)"
    )[0]
    return complaints + ([f"{alone} statements have no invoice"] if alone else [])


def judge_payments(treasury: Treasury, twin: TwinProcess) -> list[str]:
    """Numbers without gaps; at the twin each invoice and top-up once, with our amount; each payment applied once."""
    complaints = []
    invoices = treasury.rows(
        "SELECT i.id, i.number, i.status, i.total_cents, i.provider_reference, s.sha256"
        " FROM invoice i JOIN statement s ON s.id = i.statement_id ORDER BY i.number"
    )
    if [row[1] for row in invoices] != list(range(1, len(invoices) + 1)):
        complaints.append(f"numbers have gaps: {[row[1] for row in invoices]}")
    theirs: dict[str, list[Any]] = {}
    for one in twin.all("invoice"):
        theirs.setdefault(one["metadata"].get("moorage_invoice", ""), []).append(one)
    for invoice_id, number, status, cents, reference, sha256 in invoices:
        issued = theirs.pop(invoice_id, [])
        if status != "paid":
            complaints.append(f"invoice {number} is {status}")
        if cents == 0 and not issued:
            continue
        if [one["id"] for one in issued] != [reference]:
            complaints.append(f"invoice {number} is {[one['id'] for one in issued]} at the twin, not {reference}")
        for one in issued:
            if (one["total"], one["status"], one["metadata"]["statement_sha256"]) != (cents, "paid", sha256):
                complaints.append(f"invoice {number} over {cents} is another at the twin: {one}")
    complaints += [f"the twin has an invoice of nobody: {one}" for one in theirs]
    top_ups = {row[0]: row[1:] for row in treasury.rows("SELECT id, status, cents, organization_id FROM top_up")}
    paid = Counter[str]()
    for session in twin.all("checkout.session"):
        top_up_id = session["metadata"].get("moorage_top_up", "")
        if session["status"] == "complete":
            paid[top_up_id] += session["amount_total"]
    complaints += _differences("top-ups paid", paid, {one: cents for one, (_, cents, _) in top_ups.items()})
    granted = _by_id(
        treasury, "SELECT organization_id, sum(amount_pico) FROM credit_grant WHERE source LIKE 'top_up:%' GROUP BY 1"
    )
    bought: Counter[str] = Counter()
    for _, cents, organization_id in top_ups.values():
        bought[organization_id] += cents * PICO_PER_CENT
    complaints += _differences("credit granted", granted, bought)
    (cleared,) = treasury.rows(
        "SELECT coalesce(sum(e.amount_pico), 0) FROM ledger_entry e JOIN ledger_account a ON a.id = e.account_id"
        " WHERE a.kind = 'stripe_clearing'"
    )[0]
    # Of what was refunded there and used before, a person has still to say what follows.
    (uncovered,) = treasury.rows("SELECT coalesce(sum(uncovered_cents), 0) FROM refund")[0]
    collected = sum(one["amount_paid"] for one in twin.all("invoice")) + sum(paid.values()) + int(uncovered)
    collected -= sum(one["amount"] for one in twin.all("refund"))
    collected -= sum(one["amount"] for one in twin.all("dispute") if one["status"] == "lost")
    if int(cleared) != collected * PICO_PER_CENT:
        complaints.append(f"the twin has {collected} cents for us, the ledger {int(cleared)} pico")
    return complaints


def judge_given_back(treasury: Treasury, twin: TwinProcess) -> list[str]:
    """Each refund at the twin is one row of ours with its amount, whoever made it; each dispute is decided here as
    there; what a refund took of the credit is what the ledger took."""
    complaints = []
    theirs = {one["id"]: one["amount"] for one in twin.all("refund")}
    ours = treasury.rows("SELECT reference, cents FROM refund ORDER BY id")
    if sorted(theirs.items()) != sorted(ours):
        complaints.append(f"refunds at the twin are {sorted(theirs.items())}, here {sorted(ours)}")
    decided = {one["id"]: one["status"] for one in twin.all("dispute")}
    known = dict(treasury.rows("SELECT id, status FROM dispute"))
    if decided != known:
        complaints.append(f"disputes at the twin are {decided}, here {known}")
    for row in treasury.rows(
        "SELECT r.id, r.cents - r.uncovered_cents, coalesce((SELECT taken_pico FROM credit_taking t"
        " WHERE t.idempotency_key = 'revoke:refund:' || r.id), 0) FROM refund r"
    ):
        if row[1] * PICO_PER_CENT != int(row[2]):
            complaints.append(f"refund {row[0]} took {row[2]} pico for {row[1]} cents")
    return complaints


def judge_meter(treasury: Treasury, twin: TwinProcess) -> list[str]:
    """The twin's meter has each push once, and they come to what was rated, rounded down by the month."""
    summed: Counter[str] = Counter()
    for one in twin.all("billing.meter_event"):
        summed[one["payload"]["stripe_customer_id"]] += int(one["payload"]["value"])
    rated = treasury.rows(
        "SELECT c.reference, sum(r.v) FROM"
        " (SELECT organization_id, div(sum(amount_pico), 1000000) AS v FROM rated_usage"
        "   GROUP BY organization_id, period_start) r JOIN provider_customer c USING (organization_id) GROUP BY 1"
    )
    return _differences("the meter", summed, {reference: int(micro) for reference, micro in rated if micro})


def _by_id(treasury: Treasury, query: str) -> dict[str, int]:
    return {row[0]: int(row[1]) for row in treasury.rows(query)}


def _one(treasury: Treasury, column: str, table: str, key: str) -> int:
    return int(treasury.rows(f"SELECT {column} FROM {table} WHERE id = '{key}'")[0][0])


def _differences(what: str, ours: Mapping[str, int], theirs: Mapping[str, int]) -> list[str]:
    return [
        f"{what}: {one} is {ours.get(one, 0)}, should be {theirs.get(one, 0)}"
        for one in sorted(ours.keys() | theirs.keys())
        if ours.get(one, 0) != theirs.get(one, 0)
    ]
