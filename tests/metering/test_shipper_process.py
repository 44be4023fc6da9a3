"""``manage.py shipper`` as a process: killed at any moment and started again, it ships every request exactly once."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from django.conf import settings

from moorage.metering.models import UsageEvent
from moorage.wire import journal
from tests.metering.journals import Boot, checkpoint, opened, progress
from tests.waiting import wait_until
from tests.wire.events import event


def _start(database_url: str, directory: Path) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "MOORAGE_JOURNAL_DIR": str(directory),
        "DJANGO_SETTINGS_MODULE": "moorage.config.settings",
        "PYTHONPATH": str(settings.REPOSITORY / "platform"),
    }
    return subprocess.Popen([sys.executable, "-m", "django", "shipper"], env=environment, cwd=directory)


def test_a_shipper_that_is_killed_again_and_again_ships_everything_once(
    committed_db: None, database_url: str, tmp_path: Path
) -> None:
    chance = random.Random(20261122)
    boot = Boot(directory=tmp_path).start()
    closed, live = [event() for _ in range(3000)], [event() for _ in range(20)]
    boot.rotate(*(opened(one) for one in live), size=1 << 20)
    shipper = _start(database_url, tmp_path)
    try:
        for number in range(3):
            for start in range(number * 1000, number * 1000 + 1000, 100):
                batch = closed[start : start + 100]
                boot.append(*(record for one in batch for record in (opened(one), journal.Close(event=one))))
            boot.append(checkpoint(*(progress(one, number + 1) for one in live)))
            aim = chance.randrange(number * 1000, number * 1000 + 1000)
            wait_until(lambda aim=aim: UsageEvent.objects.count() > aim)
            shipper.kill()
            shipper.wait()
            boot.rotate(*(opened(one) for one in live), checkpoint(*(progress(one, number + 1) for one in live)))
            shipper = _start(database_url, tmp_path)
        boot.die()

        wait_until(lambda: UsageEvent.objects.count() == 3020)
        wait_until(lambda: list(tmp_path.iterdir()) == [])
    finally:
        shipper.send_signal(signal.SIGTERM)
        assert shipper.wait(timeout=20) == 0

    shipped = dict(UsageEvent.objects.values_list("request_id", "output_tokens"))
    assert shipped == {**{one.request_id: 7 for one in closed}, **{one.request_id: 3 for one in live}}
