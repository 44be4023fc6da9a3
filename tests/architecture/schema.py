"""What a database is made of, by PostgreSQL's own catalogue: two that do the same read the same here."""

import re
from typing import Any, Final

from django.db.backends.utils import CursorWrapper

_IN_PUBLIC: Final = "n.nspname = 'public'"
#: Kind, name and definition of everything that a migration can make. A column's place among the others says nothing.
_QUERIES: Final = (
    "SELECT 'relation ' || c.relkind::text, c.relname, concat_ws(' ', c.relpersistence::text, c.reloptions::text)"
    f" FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_IN_PUBLIC} AND c.relkind <> 'i'",
    "SELECT 'column', c.relname || '.' || a.attname, concat_ws(' ', format_type(a.atttypid, a.atttypmod),"
    " CASE WHEN a.attnotnull THEN 'not null' END, nullif(a.attidentity::text, ''), pg_get_expr(d.adbin, d.adrelid))"
    " FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
    " LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum"
    f" WHERE {_IN_PUBLIC} AND c.relkind IN ('r', 'c', 'p') AND a.attnum > 0 AND NOT a.attisdropped",
    "SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "SELECT 'constraint', conrelid::regclass::text || '.' || conname, pg_get_constraintdef(o.oid)"
    f" FROM pg_constraint o JOIN pg_namespace n ON n.oid = o.connamespace WHERE {_IN_PUBLIC}"
    # NOT NULL is the column's, and a constraint trigger is a trigger.
    " AND contype NOT IN ('n', 't')",
    "SELECT 'trigger', c.relname || '.' || tgname, tgenabled::text || pg_get_triggerdef(t.oid)"
    " FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
    f" WHERE {_IN_PUBLIC} AND NOT tgisinternal",
    "SELECT 'function', p.oid::regprocedure::text, pg_get_functiondef(p.oid)"
    f" FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {_IN_PUBLIC} AND p.prokind IN ('f', 'p')",
    "SELECT 'view', viewname, definition FROM pg_views WHERE schemaname = 'public'",
)
#: Given after every migrate (billing/roles.py), and lost whenever a function is written anew.
_GIVEN_AFTERWARDS: Final = re.compile(
    r"^ (?:SECURITY DEFINER|SET search_path .*)\n|(?: SECURITY DEFINER)$", re.MULTILINE
)


def read(cursor: CursorWrapper) -> dict[tuple[str, str], str]:
    """Every table, column, index, constraint, trigger, function and view: kind and name to definition."""
    found: dict[tuple[str, str], str] = {}
    for query in _QUERIES:
        cursor.execute(query)
        rows: list[Any] = cursor.fetchall()
        found |= {(str(kind), name): _GIVEN_AFTERWARDS.sub("", definition) for kind, name, definition in rows}
    return found


def differences(found: dict[tuple[str, str], str], wanted: dict[tuple[str, str], str]) -> list[str]:
    """What is not the same, in words."""
    return [
        f"{' '.join(name)}: {found.get(name, 'missing')!r} and not {wanted.get(name, 'missing')!r}"
        for name in sorted(found.keys() | wanted.keys())
        if found.get(name) != wanted.get(name)
    ]
