"""Who may do what in the database, granted anew after every migrate.

Four roles belong to a database ``<name>``: whoever runs ``migrate`` owns everything; ``<name>_app`` is what web and
workers log in as; ``<name>_gateway`` and ``<name>_shipper`` have what these two need. None of the three owns anything,
truncates, or turns a trigger off; what a rule of ours forbids is not theirs to do in the first place:

* a table that ``refuse_change()`` guards is read and appended to;
* a table of this room, or in KEPT, loses no row, but for those in EMPTIED; one in APPENDED does not change either;
* the gateway reads its views and leases through functions that run as their owner.

A role that is missing is made (without a login) where the migrating role may make roles; where it may not, an
operator makes them once (deploy/README.md), and until then a warning says so after each migrate.
"""

import dataclasses
import logging
from collections.abc import Iterable, Iterator
from typing import Any, Final

from django.apps import apps
from django.db import connections, transaction
from django.db.backends.utils import CursorWrapper
from psycopg import sql

logger = logging.getLogger(__name__)

APP: Final = "app"
GATEWAY: Final = "gateway"
SHIPPER: Final = "shipper"
ROLES: Final = (APP, GATEWAY, SHIPPER)

#: Of other rooms; rows of these are changed and never removed (those of leases by functions that run as their owner).
KEPT: Final = frozenset(
    {
        "allowance",
        "api_key",
        "artifact",
        "deployment",
        "deployment_update",
        "gateway_worker",
        "lease",
        "membership",
        "organization",
        "replica",
        "replica_log",
        "revision",
        "route_activity",
        "shipped_boot",
        "shipping_mark",
        "user",
    }
)
#: Of other rooms; what happened is written down and stays as it was written.
APPENDED: Final = frozenset({"timeline_event"})
#: Of this room: what is on its way, or can be made again.
EMPTIED: Final = frozenset({"engine_reading", "reconciliation_run", "unrated_usage", "usage_day"})
#: Only ``migrate`` writes these.
_OWNERS: Final = frozenset({"django_migrations"})
#: All that is ever changed of these.
_CHANGED: Final = {"credit_grant": "remaining_pico", "credit_note": "provider_reference"}
#: What nobody but the database itself gives a value to: left out of the right to insert.
_GIVEN_BY_THE_DATABASE: Final = {"ledger_transaction": frozenset({"made_in"})}
#: Functions that write what the gateway itself must not touch.
_LEASING: Final = ("gateway_lease", "gateway_leave", "reap_gateway_leases", "sweep_allowances")

_GATEWAY: Final = {
    "route": "SELECT",
    "shipped_boot": "SELECT",
    "gateway_worker": "SELECT",
    "usage_event": "SELECT (request_id, outcome, input_tokens, output_tokens)",
    "wake": "SELECT, INSERT, UPDATE",
    "route_activity": "SELECT, INSERT, UPDATE",
    "idempotency_claim": "SELECT, INSERT, UPDATE, DELETE",
}
_SHIPPER: Final = {
    "usage_event": "SELECT, INSERT",
    "unrated_usage": "SELECT, INSERT",
    "api_key": "SELECT (id, last_used_at), UPDATE (last_used_at)",
    "journal_segment": "SELECT, INSERT, UPDATE, DELETE",
    "shipped_boot": "SELECT, INSERT",
    "shipping_mark": "SELECT, INSERT, UPDATE",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Roles that are not there and could not be made."""

    names: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What an operator does about it."""
        return (
            f"The database roles {', '.join(self.names)} are not there, and the role that migrates may not make them. "
            "Make them once as a superuser (deploy/README.md, Database roles) and migrate again; until then the "
            "processes can do whatever their own login can."
        )


def name_of(database: str, role: str) -> str:
    """The name of a role of ``database``: ``moorage_app``. PostgreSQL keeps 63 bytes of a name."""
    return f"{database[: 62 - len(role)]}_{role}"


def grant(*, using: str = "default") -> Missing | None:
    """Makes the roles where that may be done, and gives each exactly its rights. What could not be made, or None."""
    connection = connections[using]
    with transaction.atomic(using=using), connection.cursor() as cursor:
        # Two processes that migrate at once would both change the same catalogue rows.
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('billing:roles', 0))")
        cursor.execute("SELECT current_database()")
        database = str(cursor.fetchone()[0])
        names = {role: name_of(database, role) for role in ROLES}
        missing = tuple(name for name in names.values() if not _ensure(cursor, name))
        if missing:
            return Missing(names=missing)
        for statement in statements(cursor, database, names):
            cursor.execute(statement)
    return None


def after_migrate(*, using: str, **_: Any) -> None:
    """For Django's ``post_migrate``: grants, and says aloud what is missing."""
    missing = grant(using=using)
    if missing is not None:
        logger.warning("%s", missing.sentence)


def statements(cursor: CursorWrapper, database: str, names: dict[str, str]) -> Iterator[sql.Composable]:
    """Everything that is granted, after all that was granted before is taken back."""
    everybody = sql.SQL(", ").join(sql.Identifier(name) for name in names.values())
    app, gateway, shipper = (sql.Identifier(names[role]) for role in ROLES)
    for what in ("TABLES", "SEQUENCES"):
        yield sql.SQL("REVOKE ALL ON ALL {} IN SCHEMA public FROM PUBLIC, {}").format(sql.SQL(what), everybody)
    yield sql.SQL("REVOKE CREATE ON SCHEMA public FROM PUBLIC, {}").format(everybody)
    yield sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(everybody)
    yield sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}").format(sql.Identifier(database), everybody)
    yield sql.SQL("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {}, {}").format(app, shipper)
    guarded = _guarded(cursor)
    tables = _relations(cursor, "r")
    for table in tables:
        yield from (
            sql.SQL("GRANT {} ON {} TO {}").format(sql.SQL(right), sql.Identifier(table), app)
            for right in _rights(cursor, table, is_guarded=table in guarded)
        )
    for view in _relations(cursor, "v"):
        readers = [app, gateway] if view.startswith("gateway_") else [app]
        yield sql.SQL("GRANT SELECT ON {} TO {}").format(sql.Identifier(view), sql.SQL(", ").join(readers))
    for role, rights in ((gateway, _GATEWAY), (shipper, _SHIPPER)):
        for table, right in rights.items():
            if table not in tables:
                continue  # After a way back over migrations there are fewer.
            yield sql.SQL("GRANT {} ON {} TO {}").format(sql.SQL(right), sql.Identifier(table), role)
    for signature in _functions(cursor):
        function = sql.SQL(signature)
        yield sql.SQL("ALTER FUNCTION {} SECURITY DEFINER SET search_path = public, pg_temp").format(function)
        yield sql.SQL("REVOKE EXECUTE ON FUNCTION {} FROM PUBLIC").format(function)
        yield sql.SQL("GRANT EXECUTE ON FUNCTION {} TO {}, {}").format(function, app, gateway)


def _rights(cursor: CursorWrapper, table: str, *, is_guarded: bool) -> Iterable[str]:
    if table in _OWNERS:
        return ("SELECT",)
    if table in APPENDED:
        return ("SELECT", "INSERT")
    if is_guarded:
        left_out = _GIVEN_BY_THE_DATABASE.get(table)
        return ("SELECT", f"INSERT ({_columns(cursor, table, left_out)})" if left_out else "INSERT")
    if table in _CHANGED:
        return ("SELECT", "INSERT", f"UPDATE ({_CHANGED[table]})")
    ours = {model._meta.db_table for model in apps.get_app_config("billing").get_models()}
    is_kept = table in KEPT or (table in ours and table not in EMPTIED)
    return ("SELECT", "INSERT", "UPDATE") if is_kept else ("SELECT", "INSERT", "UPDATE", "DELETE")


def _ensure(cursor: CursorWrapper, name: str) -> bool:
    """Whether the role is there, made now where it may be."""
    cursor.execute(
        "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s),"
        " (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user)",
        [name],
    )
    exists, may_make = cursor.fetchone()
    if not exists and may_make:
        cursor.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(name)))
    return bool(exists or may_make)


def _guarded(cursor: CursorWrapper) -> frozenset[str]:
    cursor.execute(
        "SELECT DISTINCT c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
        # Whose updates (16) and deletes (8) are both refused.
        " WHERE t.tgfoid = to_regproc('public.refuse_change') AND t.tgtype & 24 = 24"
        " AND c.relnamespace = 'public'::regnamespace"
    )
    return frozenset(row[0] for row in cursor.fetchall())


def _relations(cursor: CursorWrapper, kind: str) -> list[str]:
    cursor.execute(
        "SELECT relname FROM pg_class WHERE relkind = %s AND relnamespace = 'public'::regnamespace ORDER BY relname",
        [kind],
    )
    return [row[0] for row in cursor.fetchall()]


def _columns(cursor: CursorWrapper, table: str, left_out: frozenset[str]) -> str:
    cursor.execute(
        "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attname <> ALL(%s)",
        [f"public.{table}", list(left_out)],
    )
    return str(cursor.fetchone()[0])


def _functions(cursor: CursorWrapper) -> list[str]:
    cursor.execute(
        "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        " AND proname = ANY(%s) ORDER BY 1",
        [list(_LEASING)],
    )
    return [row[0] for row in cursor.fetchall()]
