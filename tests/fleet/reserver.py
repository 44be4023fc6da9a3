"""``python -m tests.fleet.reserver SEED``: ten threads that reserve and release room at random, to be killed.

A replica id belongs to one thread of one seed, so that a worker that is started again finds what it held, as a
replica's driver does. Every line it writes is one reservation it was given.
"""

import random
import sys
import threading

import django

THREADS = 10
IDS = 6
GIB = 1024**3


def work(seed: int, number: int) -> None:
    """Reserves and releases until it is killed."""
    from django.db import connection

    from moorage.fleet import services
    from moorage.fleet.errors import NoCapacity
    from moorage.fleet.placement import Demand

    chance = random.Random(f"{seed}-{number}-{random.SystemRandom().random()}")
    names = [f"rep_{seed}_{number}_{each}" for each in range(IDS)]
    while True:
        replica_id = chance.choice(names)
        if chance.random() < 0.4:
            services.release(replica_id=replica_id)
            continue
        kind = chance.randrange(4)
        demand = Demand(
            memory_bytes=chance.randrange(1, 8) * GIB,
            cpu_millis=500,
            gpus=chance.choice([1, 1, 2, 4]) if kind == 1 else 0,
            gpu_share_bytes=chance.randrange(5, 60) * GIB if kind in {2, 3} else 0,
            priority=chance.randrange(3),
        )
        try:
            services.reserve(replica_id=replica_id, organization_id=f"org_{chance.randrange(3)}", demand=demand)
        except NoCapacity:
            continue
        finally:
            connection.close_if_unusable_or_obsolete()
        sys.stdout.write("given\n")
        sys.stdout.flush()


if __name__ == "__main__":
    django.setup()
    threads = [threading.Thread(target=work, args=(int(sys.argv[1]), number)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
