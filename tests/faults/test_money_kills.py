"""``kill -9`` of everything that money goes through, at random: nothing lost, nothing twice, to the pico-dollar.

Replay a run with MOORAGE_FAULT_SEED; MOORAGE_FAULT_KILLS=200 is the long one.
"""

import contextlib
import os
import random
import threading
import time
from collections import Counter
from pathlib import Path

from tests.faults.money_judge import judge_payments, judge_statements, judge_usage
from tests.faults.treasury import WORKERS, Customers, Postman, Till, Treasury, freeze
from tests.stripe_twin import process as twins
from tests.stripe_twin.process import TwinProcess
from tests.waiting import wait_until

SEED = int(os.environ.get("MOORAGE_FAULT_SEED") or random.SystemRandom().randrange(1 << 32))
KILLS = int(os.environ.get("MOORAGE_FAULT_KILLS") or 12)
TWIN = "twin"
VICTIMS = [*WORKERS, "rater", "closer", "sender", "sender", "shipper", "shipper", "web", "web", "postgres", TWIN]
#: Everything is done when each of these is nothing.
REST = {
    "requests to rate": "SELECT count(*) FROM unrated_usage",
    "messages to send": "SELECT count(*) FROM outbox_message WHERE sent_at IS NULL",
    "webhooks to apply": "SELECT count(*) FROM webhook_event WHERE applied_at IS NULL",
    "invoices to be paid": "SELECT count(*) FROM invoice WHERE status <> 'paid'",
    "top-ups to be paid": "SELECT count(*) FROM top_up WHERE status <> 'paid'",
    "months to close": "SELECT count(*) FROM billing_month WHERE closed_at IS NULL"
    " AND period_start < date_trunc('month', now() - interval '3 hours' - interval '1 month', 'UTC')",
}


def test_whatever_of_the_money_path_is_killed_every_cent_is_there_once(short_tmp: Path) -> None:
    chance = random.Random(SEED)
    print(f"\nMOORAGE_FAULT_SEED={SEED} MOORAGE_FAULT_KILLS={KILLS}")
    began = time.monotonic()
    with contextlib.ExitStack() as ends:
        twin = ends.enter_context(twins.running())
        treasury = Treasury(short_tmp, twin=twin)
        ends.callback(treasury.stop)
        treasury.start()
        organizations = treasury.seed(KILLS + 3)
        till = Till(treasury.journal_dir, chance)
        customers, postman = Customers(twin), Postman(twin, treasury.webhook_url, random.Random(SEED))
        ends.callback(customers.stop)
        ends.callback(postman.stop)
        twin.control("chaos", path="/v1", shares={"drop": 4, "429": 3, "truncated": 2}, seed=SEED)
        seen: dict[str, str] = {}
        killed = _kill_at_random(treasury, twin, till, organizations, chance, seen)
        twin.control("chaos")
        till.close()
        wait_until(treasury.journal_is_empty, seconds=120, what="all journals to be shipped")
        left = _wait_for_the_rest(treasury, twin)
        assert not left, f"{left} are left\n{treasury.state()}"
        calls = len(twin.control("journal"))
        complaints = judge_usage(treasury, till.sales) + judge_statements(treasury, seen)
        complaints += judge_payments(treasury, twin)
        proof = treasury.django("prove_ledger")
        (numbered, frozen) = treasury.rows("SELECT (SELECT max(number) FROM invoice), count(*) FROM statement")[0]

    print(
        f"killed {dict(killed)} in {time.monotonic() - began:.0f} s; {len(till.sales)} requests, {frozen} statements,"
        f" {len(seen)} of them seen frozen before the end, {numbered} invoices, {postman.delivered} webhooks taken,"
        f" {calls} calls at the twin\n{proof}"
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
) -> Counter[str]:
    killed: Counter[str] = Counter()
    pause = threading.Event()
    for number in range(KILLS):
        # New customers with every kill, and somebody who uses more in a month that may be closed by now.
        for organization_id in (organizations[number], organizations[number + 1], chance.choice(organizations[:3])):
            till.sell(organization_id, requests=chance.randint(5, 20))
        posted = _posted(treasury)
        wait_until(lambda posted=posted: _posted(treasury) > posted, seconds=120, what="the ledger to move")
        pause.wait(chance.uniform(0, 1.2))
        for statement_id, sha256 in treasury.rows_when_back("SELECT id, sha256 FROM statement"):
            seen.setdefault(statement_id, sha256)
        victim = chance.choice(VICTIMS)
        if victim == TWIN:
            freeze(twin.pid, chance.uniform(0.2, 2))
        else:
            wait_until(lambda victim=victim: treasury.parts[victim].is_running, seconds=30)
            treasury.kill(victim, down_seconds=chance.choice([0, 0, 0.5]))
        killed[victim] += 1
    return killed


def _posted(treasury: Treasury) -> int:
    return int(treasury.rows_when_back("SELECT count(*) FROM ledger_transaction")[0][0])


def _wait_for_the_rest(treasury: Treasury, twin: TwinProcess) -> dict[str, object]:
    """What is not done when for two minutes nothing more was done, or after a quarter of an hour; nothing."""
    deadline = time.monotonic() + 900
    while _rest(treasury, twin) and time.monotonic() < deadline:
        moved = _moves(treasury)
        try:
            wait_until(lambda moved=moved: _moves(treasury) != moved or not _rest(treasury, twin), seconds=120)
        except AssertionError:
            break
    return _rest(treasury, twin)


def _moves(treasury: Treasury) -> tuple[int, ...]:
    """Grows as long as anything is being done."""
    return treasury.rows_when_back(
        "SELECT (SELECT count(*) FROM outbox_message WHERE sent_at IS NOT NULL),"
        " (SELECT count(*) FROM ledger_transaction),"
        " (SELECT count(*) FROM webhook_event WHERE applied_at IS NOT NULL)"
    )[0]


def _rest(treasury: Treasury, twin: TwinProcess) -> dict[str, object]:
    """What is not done yet."""
    left: dict[str, object] = {what: treasury.rows_when_back(query)[0][0] for what, query in REST.items()}
    left["pages open at the twin"] = sum(
        one["status"] in {"open", "draft"} for kind in ("invoice", "checkout.session") for one in twin.all(kind)
    )
    return {what: count for what, count in left.items() if count}
