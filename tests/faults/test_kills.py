"""``kill -9`` of everything, at random, under load: nothing lost, nothing twice.

Replay a run with MOORAGE_FAULT_SEED; MOORAGE_FAULT_KILLS=200 is the long one.
"""

import os
import random
import threading
from pathlib import Path

from tests.faults import harbour as harbours
from tests.faults.clients import Load
from tests.faults.harbour import Harbour
from tests.faults.judge import events, judge, judge_ledger
from tests.waiting import wait_until

SEED = int(os.environ.get("MOORAGE_FAULT_SEED") or random.SystemRandom().randrange(1 << 32))
KILLS = int(os.environ.get("MOORAGE_FAULT_KILLS") or 12)
#: A gateway is what there is most to lose with.
VICTIMS = [
    "gateway-0",
    "gateway-1",
    "gateway-0",
    "gateway-1",
    "shipper",
    "shipper",
    "engine-0",
    "engine-1",
    "postgres",
    "valkey",
]


def test_whatever_is_killed_every_token_is_billed_once_and_none_too_many(short_tmp: Path) -> None:
    chance = random.Random(SEED)
    print(f"\nMOORAGE_FAULT_SEED={SEED} MOORAGE_FAULT_KILLS={KILLS}")
    with harbours.running(short_tmp) as (harbour, seeded):
        load = Load(ports=lambda: harbour.ports, key=seeded["key"], seed=SEED, count=12)
        load.start()
        killed = _kill_at_random(harbour, load, chance)
        load.stop()
        harbour.finish_gateways()
        wait_until(harbour.journal_is_empty, seconds=60, what="all journals to be shipped")
        harbour.python("-m", "tests.faults.control", "rate")

        verdict = judge(load.calls, events(harbour), harbour.sent())
        complaints = verdict.complaints + judge_ledger(harbour)

    print(f"killed {killed}; {len(load.calls)} calls: {verdict}")
    assert complaints == []
    assert load.answered > KILLS
    assert load.unanswered == 0


def _kill_at_random(harbour: Harbour, load: Load, chance: random.Random) -> dict[str, int]:
    killed: dict[str, int] = {}
    pause = threading.Event()
    for _ in range(KILLS):
        moved = load.answered + 2
        wait_until(lambda moved=moved: load.answered >= moved, seconds=90, what="calls to be answered")
        pause.wait(chance.uniform(0, 0.8))
        victim = chance.choice(VICTIMS)
        wait_until(lambda victim=victim: harbour.parts[victim].is_running, seconds=30)
        harbour.kill(victim, down_seconds=chance.choice([0, 0, 0.5]))
        killed[victim] = killed.get(victim, 0) + 1
    return killed
