"""The application's role cannot do what the rules forbid: by rights, before any trigger is asked."""

import psycopg
import pytest
from django.db import connection
from psycopg import errors, sql

from moorage.billing import ledger, rater, roles
from moorage.billing.ledger import Account, Entry
from tests.billing.measured import NOON, price_list, use
from tests.cast import Cast
from tests.conftest import test_database_url as url_of

_READ_AND_APPEND = "INSERT, SELECT"
_NEVER_REMOVED = "INSERT, SELECT, UPDATE"
_ANYTHING_BUT_TRUNCATE = "DELETE, INSERT, SELECT, UPDATE"
#: Every table of money and of evidence, with what the application may do. A new table is written down here first.
GRANTED = {
    **dict.fromkeys(
        (
            "audit_entry",
            "credit_draw",
            "credit_note_line",
            "credit_note_tax_line",
            "credit_taking",
            "invoice_line",
            "invoice_tax_line",
            "ledger_account",
            "ledger_entry",
            "minimum_commitment",
            "money_deed",
            "organization_currency",
            "price",
            "rated_usage",
            "replica_usage",
            "statement",
            "timeline_event",
            "unit_cost",
            "usage_event",
        ),
        _READ_AND_APPEND,
    ),
    # Not the column that says which database transaction made it.
    "ledger_transaction": "SELECT; INSERT of created_at, effective_at, id, idempotency_key, kind, reverses_id",
    **dict.fromkeys(
        (
            "allowance",
            "api_key",
            "approval_request",
            "artifact",
            "bank_transfer",
            "billing_details",
            "billing_month",
            "collection",
            "deployment",
            "deployment_update",
            "dispute",
            "event_cursor",
            "gateway_worker",
            "invoice",
            "lease",
            "membership",
            "organization",
            "outbox_message",
            "price_counter",
            "provider_customer",
            "put_away",
            "refund",
            "replica",
            "replica_log",
            "revision",
            "route_activity",
            "shipped_boot",
            "top_up",
            "usage_anomaly",
            "usage_push",
            "user",
            "wallet",
            "watch_mark",
            "webhook_event",
        ),
        _NEVER_REMOVED,
    ),
    "credit_grant": "INSERT, SELECT; UPDATE of remaining_pico",
    "credit_note": "INSERT, SELECT; UPDATE of provider_reference",
    # On its way, looked at and forgotten, or made anew from what is kept.
    "engine_reading": _ANYTHING_BUT_TRUNCATE,
    "reconciliation_run": _ANYTHING_BUT_TRUNCATE,
    "unrated_usage": _ANYTHING_BUT_TRUNCATE,
    "usage_day": _ANYTHING_BUT_TRUNCATE,
}
#: What an attacker who can run any SQL as the application would try.
FORBIDDEN = (
    *(
        f"{deed} {table}{rest}"
        for table in ("ledger_transaction", "ledger_entry", "rated_usage", "usage_event", "statement", "audit_entry")
        for deed, rest in (
            ("UPDATE", " SET id = id" if table != "usage_event" else " SET status = 200"),
            ("DELETE FROM", ""),
            ("TRUNCATE", " CASCADE"),
            ("ALTER TABLE", " DISABLE TRIGGER ALL"),
            ("ALTER TABLE", " DISABLE TRIGGER USER"),
            ("ALTER TABLE", " ADD COLUMN note text"),
            ("ALTER TABLE", " OWNER TO CURRENT_USER"),
            ("DROP TABLE", " CASCADE"),
            ("LOCK TABLE", " IN ACCESS EXCLUSIVE MODE"),
        )
    ),
    "TRUNCATE invoice, unrated_usage CASCADE",
    "DELETE FROM invoice",
    *(
        f"DELETE FROM {table}"
        for table in (
            "organization",
            '"user"',
            "membership",
            "api_key",
            "allowance",
            "lease",
            "deployment",
            "revision",
            "replica",
            "replica_log",
            "timeline_event",
            "artifact",
        )
    ),
    "UPDATE timeline_event SET message = 'Nothing happened.'",
    "SET session_replication_role = replica",
    "SET ROLE postgres",
    "SET SESSION AUTHORIZATION postgres",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "CREATE ROLE helper SUPERUSER",
    "CREATE TABLE public.mine (id int)",
    "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE OR REPLACE FUNCTION public.refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "DROP FUNCTION public.ledger_entry_balances() CASCADE",
    "DROP TRIGGER ledger_entry_is_append_only ON ledger_entry",
    "ALTER FUNCTION public.gateway_lease(text, bigint, bigint, jsonb) SECURITY INVOKER",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "SELECT setval('ledger_entry_id_seq', 1)",
    "INSERT INTO django_migrations (app, name, applied) VALUES ('a', 'b', now())",
    "INSERT INTO ledger_transaction (id, kind, idempotency_key, effective_at, created_at, made_in)"
    " VALUES ('txn_x', 'x', 'x', now(), now(), '9999999')",
)


def _rights(role: str) -> dict[str, str]:
    """What ``role`` of this database may do with each table, as PostgreSQL itself answers."""
    found = {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname,"
            " ARRAY(SELECT p FROM unnest(ARRAY['DELETE', 'INSERT', 'REFERENCES', 'SELECT', 'TRIGGER', 'TRUNCATE',"
            " 'UPDATE']) p WHERE has_table_privilege(%s, c.oid, p)),"
            " ARRAY(SELECT p || ' of ' || string_agg(a.attname, ', ' ORDER BY a.attname) FROM pg_attribute a,"
            "  unnest(ARRAY['INSERT', 'UPDATE']) p WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
            "  AND NOT has_table_privilege(%s, c.oid, p) AND has_column_privilege(%s, c.oid, a.attnum, p)"
            "  GROUP BY p ORDER BY p)"
            " FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace",
            [role] * 3,
        )
        for table, whole, parts in cursor.fetchall():
            found[table] = "; ".join([", ".join(whole), *parts] if whole else parts)
    return found


def _name(role: str) -> str:
    return roles.name_of(connection.settings_dict["NAME"], role)


def test_every_table_of_money_is_granted_as_written_down(db: None) -> None:
    from django.apps import apps

    money = {model._meta.db_table for model in apps.get_app_config("billing").get_models()} | set(GRANTED)

    granted = {table: rights for table, rights in _rights(_name(roles.APP)).items() if table in money}

    assert granted == GRANTED


@pytest.mark.parametrize("role", roles.ROLES)
def test_no_role_of_a_process_truncates_owns_or_is_more_than_it_says(db: None, role: str) -> None:
    rights = _rights(_name(role))

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication,"
            " (SELECT count(*) FROM pg_class WHERE relowner = r.oid),"
            " (SELECT count(*) FROM pg_auth_members WHERE member = r.oid)"
            " FROM pg_roles r WHERE rolname = %s",
            [_name(role)],
        )
        is_mighty, owned, memberships = cursor.fetchone()
    assert (is_mighty, owned, memberships) == (False, 0, 0)
    assert not [
        table for table, granted in rights.items() if {"TRUNCATE", "TRIGGER", "REFERENCES"} & set(granted.split(", "))
    ]


def test_the_gateway_and_the_shipper_have_what_they_need_and_no_more(db: None) -> None:
    gateway = {table: granted for table, granted in _rights(_name(roles.GATEWAY)).items() if granted}
    shipper = {table: granted for table, granted in _rights(_name(roles.SHIPPER)).items() if granted}

    assert gateway == {
        "gateway_worker": "SELECT",
        "idempotency_claim": _ANYTHING_BUT_TRUNCATE,
        "route": "SELECT",
        "route_activity": _NEVER_REMOVED,
        "shipped_boot": "SELECT",
        "wake": _NEVER_REMOVED,
    }
    assert shipper == {
        "api_key": "UPDATE of last_used_at",
        "journal_segment": _ANYTHING_BUT_TRUNCATE,
        "shipped_boot": _READ_AND_APPEND,
        "shipping_mark": _NEVER_REMOVED,
        "unrated_usage": _READ_AND_APPEND,
        "usage_event": _READ_AND_APPEND,
    }


@pytest.mark.parametrize("role", roles.ROLES)
def test_whatever_sql_a_process_is_made_to_run_it_cannot_do_what_the_rules_forbid(
    committed_cast: Cast, role: str
) -> None:
    price_list()
    use(committed_cast.alice.organization)
    rater.rate_all()

    with psycopg.connect(url_of(role), autocommit=True) as plain:
        done = [statement for statement in FORBIDDEN if not _is_refused(plain, statement)]

    assert done == []
    assert ledger.prove().is_clean


def _is_refused(plain: psycopg.Connection, statement: str) -> bool:
    plain.execute("BEGIN")
    try:
        plain.execute(statement)  # type: ignore[arg-type]
    except (errors.InsufficientPrivilege, errors.WrongObjectType):
        return True
    except errors.UndefinedObject:
        return "ROLE" in statement or "AUTHORIZATION" in statement
    finally:
        plain.execute("ROLLBACK")
    return False


@pytest.fixture
def posted(committed_cast: Cast) -> tuple[str, list[int]]:
    """A committed transaction, and the accounts of its two entries."""
    organization_id = committed_cast.alice.organization.id
    made = ledger.post(
        kind="test",
        idempotency_key="posted",
        entries=[
            Entry(account=Account.RECEIVABLE, organization_id=organization_id, pico=5),
            Entry(account=Account.REVENUE, organization_id=organization_id, pico=-5),
        ],
        effective_at=NOON,
    )
    return made.id, list(made.entries.order_by("id").values_list("account_id", flat=True))


def _append(plain: psycopg.Connection, posted: tuple[str, list[int]], *picos: int) -> None:
    for account, pico in zip(posted[1], picos, strict=False):
        plain.execute(
            "INSERT INTO public.ledger_entry (transaction_id, account_id, amount_pico) VALUES (%s, %s, %s)",
            [posted[0], account, pico],
        )


def test_an_entry_that_comes_late_is_refused_even_where_it_balances(posted: tuple[str, list[int]]) -> None:
    with psycopg.connect(url_of(roles.APP)) as plain, pytest.raises(errors.RestrictViolation, match="is closed"):
        _append(plain, posted, 1, -1)


def test_a_temporary_table_of_the_same_name_fools_nobody(posted: tuple[str, list[int]]) -> None:
    with psycopg.connect(url_of(roles.APP)) as plain, pytest.raises(errors.RestrictViolation, match="is closed"):
        plain.execute("CREATE TEMPORARY TABLE ledger_transaction (id text, made_in xid8)")
        plain.execute("INSERT INTO pg_temp.ledger_transaction VALUES (%s, pg_current_xact_id())", [posted[0]])
        plain.execute("SET LOCAL search_path = pg_temp, public")
        _append(plain, posted, 1, -1)


def test_a_check_that_was_called_for_early_is_made_again(posted: tuple[str, list[int]]) -> None:
    with psycopg.connect(url_of(roles.APP)) as plain, pytest.raises(errors.CheckViolation, match="does not balance"):
        plain.execute(
            "INSERT INTO ledger_transaction (id, kind, idempotency_key, effective_at, created_at)"
            " VALUES ('txn_early', 'x', 'early', now(), now())"
        )
        made = ("txn_early", posted[1])
        _append(plain, made, 7, -7)
        plain.execute("SET CONSTRAINTS ALL IMMEDIATE")
        plain.execute("SET CONSTRAINTS ALL DEFERRED")
        _append(plain, made, 1)
        plain.commit()


def test_a_transaction_of_one_entry_or_of_none_is_refused(posted: tuple[str, list[int]]) -> None:
    for picos in ((), (1,)):
        with psycopg.connect(url_of(roles.APP)) as plain, pytest.raises(errors.CheckViolation):
            plain.execute(
                "INSERT INTO ledger_transaction (id, kind, idempotency_key, effective_at, created_at)"
                " VALUES ('txn_poor', 'x', 'poor', now(), now())"
            )
            _append(plain, ("txn_poor", posted[1]), *picos)
            plain.commit()


def test_an_account_never_moves_to_another_organization_or_currency(posted: tuple[str, list[int]]) -> None:
    with psycopg.connect(url_of(roles.APP)) as plain, pytest.raises(errors.InsufficientPrivilege):
        plain.execute("UPDATE ledger_account SET currency = 'EUR'")


def test_an_organization_is_charged_in_the_currency_of_its_first_charge(posted: tuple[str, list[int]]) -> None:
    organizations = "SELECT organization_id FROM ledger_account LIMIT 1"
    with psycopg.connect(url_of(roles.APP)) as plain, pytest.raises(errors.ForeignKeyViolation):
        plain.execute(
            f"INSERT INTO ledger_account (organization_id, kind, currency) VALUES (({organizations}), 'x', 'EUR')"
        )


def test_even_the_owner_cannot_take_back_what_is_written(posted: tuple[str, list[int]]) -> None:
    for table in ("ledger_transaction", "ledger_entry", "ledger_account", "organization_currency"):
        for deed in ("UPDATE {} SET id = id", "DELETE FROM {}", "TRUNCATE {} CASCADE"):
            if table == "organization_currency":
                deed = deed.replace("id = id", "currency = currency")
            with psycopg.connect(url_of()) as owner, pytest.raises(errors.RestrictViolation, match="append-only"):
                owner.execute(deed.format(table))  # type: ignore[arg-type]


def test_granting_again_changes_nothing_and_a_new_table_is_no_ones(db: None, django_db_blocker: object) -> None:
    before = _rights(_name(roles.APP))

    with psycopg.connect(url_of(), autocommit=True) as owner:
        owner.execute("CREATE TABLE stray (id int)")
    try:
        assert _rights(_name(roles.APP))["stray"] == ""
    finally:
        with psycopg.connect(url_of(), autocommit=True) as owner:
            owner.execute("DROP TABLE stray")
    assert _rights(_name(roles.APP)) == before


def test_where_roles_may_not_be_made_an_operator_reads_what_to_do(committed_db: None) -> None:
    connection.ensure_connection()
    with psycopg.connect(url_of(), autocommit=True) as owner:
        for role in roles.ROLES:
            owner.execute(sql.SQL("ALTER ROLE {0} RENAME TO {1}").format(*_renamed(role)))
    try:
        missing = roles.grant()
    finally:
        with psycopg.connect(url_of(), autocommit=True) as owner:
            for role in roles.ROLES:
                owner.execute(sql.SQL("ALTER ROLE {1} RENAME TO {0}").format(*_renamed(role)))

    assert missing is not None
    assert missing.names == tuple(_name(role) for role in roles.ROLES)
    assert "deploy/README.md" in missing.sentence


def _renamed(role: str) -> tuple[sql.Identifier, sql.Identifier]:
    return sql.Identifier(_name(role)), sql.Identifier(f"{_name(role)}_away")
