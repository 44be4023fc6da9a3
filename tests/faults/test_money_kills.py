"""``kill -9`` of everything that money goes through, at random: nothing lost, nothing twice, to the pico-dollar.

Replay a run with MOORAGE_FAULT_SEED; MOORAGE_FAULT_KILLS=200 is the long one.
"""

import contextlib
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults.money_judge import judge_given_back, judge_meter, judge_payments, judge_statements, judge_usage
from tests.faults.treasury import METER, WORKERS, Bank, Customers, Postman, Till, Treasury, freeze
from tests.stripe_twin import process as twins
from tests.stripe_twin.process import TwinProcess
from tests.waiting import wait_until

SEED = int(os.environ.get("MOORAGE_FAULT_SEED") or random.SystemRandom().randrange(1 << 32))
KILLS = int(os.environ.get("MOORAGE_FAULT_KILLS") or 12)
TWIN = "twin"
EVERYWHERE = ["shipper", "shipper", "web", "web", "postgres", TWIN]
VICTIMS = {
    "processes": [*WORKERS, "rater", "closer", "sender", "sender", *EVERYWHERE],
    "celery": ["celery", "celery", "celery", "celery", "beat", "valkey", *EVERYWHERE],
}
#: Everything is done when each of these is nothing.
REST = {
    "requests to rate": "SELECT count(*) FROM unrated_usage",
    "messages to send": "SELECT count(*) FROM outbox_message WHERE sent_at IS NULL",
    "webhooks to apply": "SELECT count(*) FROM webhook_event WHERE applied_at IS NULL",
    "invoices to be paid": "SELECT count(*) FROM invoice WHERE status <> 'paid'",
    "top-ups to be paid": "SELECT count(*) FROM top_up WHERE status <> 'paid'",
    "months to close": "SELECT count(*) FROM billing_month WHERE closed_at IS NULL"
    " AND period_start < date_trunc('month', now() - interval '3 hours', 'UTC')",
    "refunds under way": "SELECT count(*) FROM refund WHERE status = 'pending'",
    "disputes to decide": "SELECT count(*) FROM dispute WHERE status = 'open'",
    "usage to push": "SELECT count(*) FROM (SELECT organization_id, period_start, div(sum(amount_pico), 1000000) AS v"
    " FROM rated_usage GROUP BY 1, 2) r LEFT JOIN (SELECT organization_id, period_start, sum(value_micro) AS v"
    " FROM usage_push WHERE status = 'acked' GROUP BY 1, 2) p USING (organization_id, period_start)"
    " WHERE r.v <> coalesce(p.v, 0)",
}


@pytest.mark.parametrize("mode", ["processes", "celery"])
def test_whatever_of_the_money_path_is_killed_every_cent_is_there_once(short_tmp: Path, mode: str) -> None:
    chance = random.Random(SEED)
    print(f"\nMOORAGE_FAULT_SEED={SEED} MOORAGE_FAULT_KILLS={KILLS} {mode}")
    began = time.monotonic()
    with contextlib.ExitStack() as ends:
        twin = ends.enter_context(twins.running())
        twin.control("meter", event_name=METER, display_name="Usage", default_aggregation={"formula": "sum"})
        treasury = Treasury(short_tmp, twin=twin, is_celery=mode == "celery")
        ends.callback(treasury.stop)
        treasury.start()
        organizations = treasury.seed(KILLS + 3)
        till = Till(treasury.journal_dir, chance)
        customers, bank = Customers(twin), Bank(twin)
        postman = Postman(twin, treasury.webhook_url, random.Random(SEED))
        ends.callback(customers.stop)
        ends.callback(bank.stop)
        ends.callback(postman.stop)
        twin.control("chaos", path="/v1", shares={"drop": 4, "429": 3, "truncated": 2}, seed=SEED)
        seen: dict[str, str] = {}
        killed = _kill_at_random(treasury, twin, till, organizations, chance, seen, VICTIMS[mode])
        twin.control("chaos")
        till.close()
        wait_until(treasury.journal_is_empty, seconds=120, what="all journals to be shipped")
        left = _wait_for_the_rest(treasury, twin, bank)
        assert not left, f"{left} are left\n{treasury.state()}"
        calls = len(twin.control("journal"))
        complaints = judge_usage(treasury, till.sales) + judge_statements(treasury, seen)
        complaints += judge_payments(treasury, twin) + judge_given_back(treasury, twin) + judge_meter(treasury, twin)
        given_back = treasury.rows(
            "SELECT (SELECT count(*) FROM refund WHERE key = 'by us'),"
            " (SELECT count(*) FROM refund WHERE key <> 'by us'),"
            " (SELECT count(*) FROM dispute), (SELECT count(*) FROM usage_push WHERE status = 'acked')"
        )[0]
        proof = treasury.django("prove_ledger")
        (numbered, frozen) = treasury.rows("SELECT (SELECT max(number) FROM invoice), count(*) FROM statement")[0]

    print(
        f"killed {dict(killed)} in {time.monotonic() - began:.0f} s; {len(till.sales)} requests, {frozen} statements,"
        f" {len(seen)} of them seen frozen before the end, {numbered} invoices, {postman.delivered} webhooks taken,"
        f" {calls} calls at the twin; {given_back[0]} refunds of ours, {given_back[1]} of the dashboard,"
        f" {given_back[2]} disputes, {given_back[3]} pushes of usage\n{proof}"
    )
    assert complaints == []
    assert postman.refused == set()
    assert numbered > KILLS


def _kill_at_random(
    treasury: Treasury,
    twin: TwinProcess,
    till: Till,
    organizations: list[str],
    chance: random.Random,
    seen: dict[str, str],
    victims: Sequence[str],
) -> Counter[str]:
    killed: Counter[str] = Counter()
    pause = threading.Event()
    for number in range(KILLS):
        # New customers with every kill, and somebody who uses more in a month that may be closed by now.
        for organization_id in (organizations[number], organizations[number + 1], chance.choice(organizations[:3])):
            till.sell(organization_id, requests=chance.randint(5, 20))
        posted = _posted(treasury)
        try:
            wait_until(lambda posted=posted: _posted(treasury) > posted, seconds=300, what="the ledger to move")
        except AssertionError as error:
            raise AssertionError(f"{error}\nkilled {killed.total()}: {dict(killed)}\n{treasury.state()}") from error
        pause.wait(chance.uniform(0, 1.2))
        for statement_id, sha256 in treasury.rows_when_back("SELECT id, sha256 FROM statement"):
            seen.setdefault(statement_id, sha256)
        victim = chance.choice(victims)
        if victim == TWIN:
            freeze(twin.pid, chance.uniform(0.2, 2))
        else:
            wait_until(lambda victim=victim: treasury.parts[victim].is_running, seconds=30)
            treasury.kill(victim, down_seconds=chance.choice([0, 0, 0.5]))
        killed[victim] += 1
    return killed


def _posted(treasury: Treasury) -> int:
    return int(treasury.rows_when_back("SELECT count(*) FROM ledger_transaction")[0][0])


def _wait_for_the_rest(treasury: Treasury, twin: TwinProcess, bank: Bank) -> dict[str, object]:
    """What is not done when for two minutes nothing more was done, or after a quarter of an hour; nothing."""
    deadline = time.monotonic() + 900
    while _rest(treasury, twin, bank) and time.monotonic() < deadline:
        moved = _moves(treasury)
        try:
            wait_until(lambda moved=moved: _moves(treasury) != moved or not _rest(treasury, twin, bank), seconds=120)
        except AssertionError:
            break
    return _rest(treasury, twin, bank)


def _moves(treasury: Treasury) -> tuple[int, ...]:
    """Grows as long as anything is being done."""
    return treasury.rows_when_back(
        "SELECT (SELECT count(*) FROM outbox_message WHERE sent_at IS NOT NULL),"
        " (SELECT count(*) FROM ledger_transaction),"
        " (SELECT count(*) FROM webhook_event WHERE applied_at IS NOT NULL),"
        " (SELECT count(*) FROM usage_push WHERE status = 'acked')"
    )[0]


def _rest(treasury: Treasury, twin: TwinProcess, bank: Bank) -> dict[str, object]:
    """What is not done yet."""
    left: dict[str, object] = {what: treasury.rows_when_back(query)[0][0] for what, query in REST.items()}
    left["pages open at the twin"] = sum(
        one["status"] in {"open", "draft"} for kind in ("invoice", "checkout.session") for one in twin.all(kind)
    )
    left["payments that the bank has not looked at"] = bank.left()
    return {what: count for what, count in left.items() if count}
