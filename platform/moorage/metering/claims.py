"""Idempotency keys of gateways that are dead: those whose requests came to nothing are free again."""

from django.db import connection


def free_lost(boot_id: str) -> int:
    """Deletes what the dead gateway ``boot_id`` had claimed for requests that left no usage event.

    Call it when all of that boot's journal is in usage_event: only then is it known that nothing more comes. Returns
    how many there were. Raises django.db.DatabaseError.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM idempotency_claim AS held WHERE boot_id = %s AND NOT EXISTS"
            " (SELECT FROM usage_event WHERE usage_event.request_id = held.request_id)",
            [boot_id],
        )
        return cursor.rowcount
