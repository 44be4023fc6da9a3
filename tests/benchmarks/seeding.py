"""Fills an empty database through the models: one organization, its deployment, its keys, and their limits.

Run in a process of its own, `python -m tests.benchmarks.seeding KEYS governed|free FILE`, with the environment of an
instance. Writes to FILE what the load needs: the secrets of some of the keys.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeVar

import django
import msgspec

from moorage.kernel import clock, secrets
from moorage.kernel.money import PICO
from moorage.wire.limits import Limits

#: Keys that the load really uses; the others make the tables as large as they would be.
USED_KEYS: Final = 500
ORGANIZATION: Final = "org_" + "0" * 26
DEPLOYMENT: Final = "dep_" + "0" * 26
_BATCH: Final = 5_000
_Item = TypeVar("_Item")

#: Limits that are checked for each request and never reached.
OF_A_KEY: Final = Limits(
    requests_per_minute=10**9, tokens_per_minute=10**12, concurrent_requests=10**5, tokens_per_day=10**14
)
OF_ALL: Final = Limits(
    requests_per_minute=10**9, tokens_per_minute=10**12, concurrent_requests=10**5, money_per_month=10**8 * PICO
)
OF_THE_DEPLOYMENT: Final = Limits(tokens_per_month=10**15, money_per_day=10**8 * PICO)


def fill(keys: int, *, is_governed: bool) -> list[str]:
    """Returns the secrets of ``USED_KEYS`` keys, or of all if there are fewer."""
    from django.db import connection

    from moorage.accounts.models import ApiKey, Organization, SubjectLimit
    from moorage.deployments.models import Deployment

    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # no NOTIFY for each of the keys
    organization = Organization.objects.create(id=ORGANIZATION, slug="bench", name="Bench")
    Deployment.objects.create(id=DEPLOYMENT, organization=organization, name="bench", status="ready")
    made = [secrets.new_key() for _ in range(keys)]
    rows = [
        ApiKey(
            organization=organization,
            name="bench",
            shown=secret.shown,
            sha256=secret.sha256,
            scopes=["inference"],
            created_by="bench",
        )
        for secret in made
    ]
    for batch in _batches(rows):
        ApiKey.objects.bulk_create(batch)
    if is_governed:
        _put_prices()
        limits = [(row.id, OF_A_KEY) for row in rows] + [(ORGANIZATION, OF_ALL), (DEPLOYMENT, OF_THE_DEPLOYMENT)]
        for some in _batches(limits):
            SubjectLimit.objects.bulk_create(
                SubjectLimit(subject=subject, organization=organization, limits=msgspec.to_builtins(limit))
                for subject, limit in some
            )
    return [each.text for each in made[:USED_KEYS]]


def _put_prices() -> None:
    """A dollar for a million tokens, so that budgets have something to count."""
    from moorage.billing.models import Meter, Price

    Price.objects.bulk_create(
        Price(meter=meter, model="*", pico_per_unit=PICO // 10**6, valid_from=clock.now(), created_by="bench")
        for meter in (Meter.INPUT_TOKENS, Meter.CACHED_INPUT_TOKENS, Meter.OUTPUT_TOKENS)
    )


def _batches(rows: list[_Item]) -> Iterator[list[_Item]]:
    for start in range(0, len(rows), _BATCH):
        yield rows[start : start + _BATCH]


def main(keys: str, kind: str, path: str) -> None:
    """Fill the database that the environment names."""
    django.setup()
    Path(path).write_text(json.dumps(fill(int(keys), is_governed=kind == "governed")))


if __name__ == "__main__":
    main(*sys.argv[1:])
