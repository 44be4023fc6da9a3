"""Raters at once, as several workers of Celery are."""

import threading

from django.db import connection

from moorage.billing import rater


def rate_at_once(raters: int = 4, *, limit: int) -> None:
    """So many rate batches of ``limit`` beside each other until nothing is left. Outside transactions."""

    def work() -> None:
        try:
            while rater.rate_batch(limit=limit).rated:
                pass
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(raters)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rater.rate_all()
