"""Databases beside the one that the tests run in: an empty one, or a copy of it with all its rows."""

import contextlib
from collections.abc import Iterator

import psycopg
from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

from moorage.billing import roles
from tests.conftest import test_database_url


@contextlib.contextmanager
def another(name: str, *, is_copy: bool) -> Iterator[BaseDatabaseWrapper]:
    """A connection of Django's, as the owner, to a new database; it is dropped afterwards."""
    ours = connection.settings_dict["NAME"]
    theirs = f"{ours}_{name}"
    connections.close_all()
    with psycopg.connect(test_database_url(), dbname="postgres", autocommit=True) as plain:
        _drop(plain, theirs)
        # Whoever logs in through Django in the tests becomes this one.
        plain.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(roles.name_of(theirs, roles.APP))))
        if is_copy:
            plain.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [ours])
        template = sql.Identifier(ours if is_copy else "template0")
        plain.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(theirs), template))
        connections.databases[name] = {**connection.settings_dict, "NAME": theirs}
        try:
            with connections[name].cursor() as cursor:
                cursor.execute("RESET ROLE")
            yield connections[name]
        finally:
            connections[name].close()
            del connections[name]
            del connections.databases[name]
            _drop(plain, theirs)


def _drop(plain: psycopg.Connection, name: str) -> None:
    plain.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
    for role in roles.ROLES:
        plain.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(roles.name_of(name, role))))
