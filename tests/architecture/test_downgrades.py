"""Back over the migrations and forward again, with rows: each step back leaves what was there before it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor

from moorage.accounts import limits as accounts_limits
from moorage.accounts.models import ApiKey, Priority
from moorage.billing import roles
from moorage.billing.payments_memory import MemoryProvider
from moorage.deployments import services as deployments
from moorage.deployments.models import Replica, ReplicaStatus, RunnerLine
from moorage.fleet.models import Device, DeviceShare, Node, Reservation
from moorage.wire.limits import Limits
from tests.architecture import databases, schema
from tests.billing.euro import pay_in
from tests.billing.measured import run
from tests.billing.paid_credit import note_of_a_paid_invoice, paid, paid_and_unheard
from tests.cast import Cast
from tests.deployments.conftest import COMPOSE

Schema = dict[tuple[str, str], str]

#: Before the first of each room there is nothing to give anybody a right to.
FIRST = {"billing": "0001", "deployments": "0001", "fleet": "0001", "metering": "0001", "accounts": "0002"}


def read(connection: BaseDatabaseWrapper) -> Schema:
    """What ``connection``'s database is made of."""
    with connection.cursor() as cursor:
        return schema.read(cursor)


def granted(connection: BaseDatabaseWrapper) -> list[tuple[str, ...]]:
    """Who may do what, relation by relation."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, grantee::regrole::text, privilege_type FROM pg_class, aclexplode(relacl)"
            " WHERE relnamespace = 'public'::regnamespace AND grantee = ANY (%s::regrole[]) ORDER BY 1, 2, 3",
            [[roles.name_of(connection.settings_dict["NAME"], role) for role in roles.ROLES]],
        )
        return list(cursor.fetchall())


class Stepper(MigrationExecutor):
    """Takes the first migration of every room before the second of any, as far as what they need allows, so that a
    way back over the newest of one room does not begin with dropping another."""

    def __init__(self, connection: BaseDatabaseWrapper, done: Callable[[str, Migration], None]) -> None:
        def hear(action: str, migration: Migration | None = None, fake: bool = False) -> None:
            if migration is not None and action.endswith("_success"):
                done(action, migration)

        super().__init__(connection, hear)

    def migration_plan(self, targets: Any, clean_start: bool = False) -> list[tuple[Migration, bool]]:
        plan = super().migration_plan(targets, clean_start)
        if not clean_start:
            return plan
        waiting = {(one.app_label, one.name): one for one, _ in plan}
        nodes = self.loader.graph.node_map
        found = []
        while waiting:
            ready = [key for key in waiting if not any(parent.key in waiting for parent in nodes[key].parents)]
            found.append((waiting.pop(min(ready, key=lambda key: (key[1][:4], key[0]))), False))
        return found


@pytest.fixture
def filled(committed_cast: Cast) -> Cast:
    """Rows of every room: a key with limits, a deployment, a device in shares, a month that was paid, bought credit."""
    alice, charlie = committed_cast.alice, committed_cast.charlie
    harbour = alice.organization
    alice.key()
    accounts_limits.set_key_limits(
        key=ApiKey.objects.get(),
        limits=Limits(tokens_per_day=100),
        networks=["10.0.0.0/8"],
        priority=Priority.HIGH,
        by=alice.actor,
    )
    accounts_limits.set_limits(
        organization=harbour, subject=harbour.pk, limits=Limits(money_per_month=10**12), by=alice.actor
    )
    made = deployments.apply(organization=harbour, name="demo", compose_text=COMPOSE, by=alice.actor)
    replica = Replica.objects.create(
        deployment=made.deployment,
        revision=made.revision,
        model_key="llm",
        status=ReplicaStatus.PULLING,
        container_name="moorage-demo",
    )
    RunnerLine.objects.create(
        replica=replica, deployment_id=made.deployment.pk, stream="stderr", at=replica.created_at, text="loading"
    )
    node = Node.objects.create(name="a-1", memory_bytes=2**36, cpu_millis=8000, runtime="memory")
    reservation = Reservation.objects.create(
        replica_id=replica.pk, node=node, organization_id=harbour.pk, memory_bytes=2**30, cpu_millis=1000, why="Room."
    )
    Device.objects.create(
        node=node,
        kind="gpu",
        vendor_id="GPU-1",
        name="H100",
        memory_bytes=2**36,
        reservation=reservation,
        organization_id=harbour.pk,
    )
    shared = Device.objects.create(
        node=node,
        kind="gpu",
        vendor_id="GPU-2",
        name="H100",
        memory_bytes=2**36,
        used_memory_bytes=2**30,
        organization_id=harbour.pk,
    )
    DeviceShare.objects.create(device=shared, reservation=reservation, organization_id=harbour.pk, memory_bytes=2**30)
    run(harbour, seconds=60)
    note_of_a_paid_invoice(committed_cast)
    provider = MemoryProvider()
    paid(paid_and_unheard(charlie, provider), provider)
    return committed_cast


def all_schemas() -> list[tuple[tuple[str, str], Schema]]:
    """The way up of an empty database: each migration, and what is there after it."""
    found: list[tuple[tuple[str, str], Schema]] = []
    with databases.another("upwards", is_copy=False) as connection:

        def look(_action: str, migration: Migration) -> None:
            found.append(((migration.app_label, migration.name), read(connection)))

        executor = Stepper(connection, look)
        executor.migrate(executor.loader.graph.leaf_nodes())
    return found


def counts(connection: BaseDatabaseWrapper) -> dict[str, int]:
    """Every table and how many rows it has."""
    with connection.cursor() as cursor:
        found = {}
        for table in set(connection.introspection.table_names(cursor)) - {"django_migrations"}:
            cursor.execute(f'SELECT count(*) FROM "{table}"')
            found[table] = int(cursor.fetchone()[0])
        return found


def test_each_step_back_leaves_what_was_there_before_it_and_the_way_up_leads_to_the_same(filled: Cast) -> None:
    schemas = all_schemas()
    order = [key for key, _ in schemas]
    first = max(n for n, (_, name) in enumerate(order) if name.startswith("0001"))
    before = {key: schemas[n - 1][1] for n, (key, _) in enumerate(schemas) if n}
    wrong: list[str] = []

    with databases.another("copied", is_copy=True) as connection:

        def compare(action: str, migration: Migration) -> None:
            key = (migration.app_label, migration.name)
            wanted = before[key] if action == "unapply_success" else dict(schemas)[key]
            wrong.extend(f"{action} {key}: {one}" for one in schema.differences(read(connection), wanted))

        rows = counts(connection)
        executor = Stepper(connection, compare)
        back = [executor.loader.graph.nodes[key] for key in reversed(order[first + 1 :])]
        executor.migrate(None, [(one, True) for one in back])
        kept = counts(connection)
        executor = Stepper(connection, compare)
        executor.migrate(None, [(one, False) for one in reversed(back)])

        assert not wrong, "\n".join(wrong)
        again = counts(connection)
        assert {table: (rows[table], again[table]) for table in kept} == {table: (n, n) for table, n in kept.items()}


def test_what_organizations_pay_in_is_not_lost_by_a_way_back(committed_cast: Cast) -> None:
    """Refused on purpose: forward again, all of them would pay in dollars."""
    pay_in(committed_cast.alice.organization)

    with databases.another("copied", is_copy=True) as connection:
        wanted = read(connection)
        with pytest.raises(DatabaseError, match="pay in another currency"):
            call_command("migrate", "accounts", "0007", database="copied", verbosity=0)
        with connection.cursor() as cursor:
            cursor.execute("SELECT currency FROM organization WHERE slug = 'harbour'")
            assert cursor.fetchone() == ("EUR",)
        call_command("migrate", database="copied", verbosity=0)

        assert schema.differences(read(connection), wanted) == []


def test_the_command_goes_back_to_the_first_and_up_again_and_everybody_has_their_rights(
    committed_cast: Cast,
) -> None:
    with databases.another("copied", is_copy=True) as connection:
        call_command("migrate", database="copied", verbosity=0)
        wanted, rights = read(connection), granted(connection)
        for room, name in FIRST.items():
            call_command("migrate", room, name, database="copied", verbosity=0)
        assert schema.differences(read(connection), wanted) != []

        call_command("migrate", database="copied", verbosity=0)

        assert schema.differences(read(connection), wanted) == []
        assert granted(connection) == rights
