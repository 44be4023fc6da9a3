"""What gateways read of accounts, a few rows at a time: each step costs what its own rows cost."""

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from psycopg import sql

from moorage.accounts import services as accounts
from moorage.accounts.models import ApiKey, Organization, Scope, SubjectLimit
from moorage.gateway import state
from tests.cast import Cast

KEYS = 2_000
ROWS = 20


@pytest.fixture
def many(cast: Cast) -> list[str]:
    """The ids of many keys with limits, some of other organizations, of which PostgreSQL has statistics."""
    owners = [cast.alice.organization, *Organization.objects.bulk_create(_organizations(50))]
    keys = ApiKey.objects.bulk_create(
        ApiKey(
            organization=owners[number % len(owners)],
            name=f"key {number}",
            shown="mk_live_",
            sha256=hashlib.sha256(str(number).encode()).digest(),
            scopes=[Scope.INFERENCE],
        )
        for number in range(KEYS)
    )
    SubjectLimit.objects.bulk_create(
        SubjectLimit(subject=key.pk, organization=key.organization, limits={"requests_per_minute": 60}) for key in keys
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE api_key, subject_limit, organization")
    return sorted(key.pk for key in keys)


def _organizations(count: int) -> Iterator[Organization]:
    return (Organization(slug=f"pier-{number}", name=f"Pier {number}") for number in range(count))


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("view", ["gateway_key_sweep", "gateway_organization"])
def test_a_step_of_a_sweep_touches_its_own_rows_alone(many: list[str], view: str, mode: str) -> None:
    after = many[-100] if view == "gateway_key_sweep" else ""
    query = state.PORTION.format(sql.Identifier(view)).as_string(None) % ("$1", "$2")

    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL plan_cache_mode = {mode}")
        cursor.execute(f"PREPARE portion(text, int) AS {query}")
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE portion('{after}', {ROWS})")
        (plan,) = cursor.fetchone()[0]
        cursor.execute("DEALLOCATE portion")

    worst = max(touched(plan["Plan"]))
    assert worst <= 5 * ROWS, f"{worst} rows were read for {ROWS}"


def touched(node: dict[str, Any]) -> Iterator[float]:
    """How many rows each node of a plan took up, over all its loops."""
    loops = node["Actual Loops"]
    yield loops * (
        node["Actual Rows"] + node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Join Filter", 0)
    )
    for child in node.get("Plans", []):
        yield from touched(child)


def test_the_sweep_tells_of_keys_that_open_nothing(cast: Cast) -> None:
    cast.alice.key(name="live")
    cast.alice.key(name="ended")
    live, ended = ApiKey.objects.get(name="live"), ApiKey.objects.get(name="ended")
    accounts.revoke_key(key=ended, by=cast.alice.actor)

    with connection.cursor() as cursor:
        cursor.execute("SELECT id, document IS NULL FROM gateway_key_sweep WHERE id = ANY (%s)", [[live.pk, ended.pk]])
        assert dict(cursor.fetchall()) == {live.pk: False, ended.pk: True}
