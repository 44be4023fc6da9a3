"""The embedded PostgreSQL and Valkey, for real: they start, ask for a password, stop, and come back after a kill."""

import dataclasses
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from moorage.config.instance.ports import any_free
from moorage.config.instance.postgres import Postgres
from moorage.config.instance.supervisor import Supervisor
from moorage.config.instance.valkey import Valkey
from tests.instance.test_supervisor import make, watched
from tests.waiting import wait_until


@pytest.fixture
def supervisor(short_tmp: Path) -> Iterator[Supervisor]:
    made = make(short_tmp)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """One data directory for this module: making it is the slow part."""
    folder = Path(tempfile.mkdtemp(prefix="m", dir="/tmp"))
    made = Postgres(directory=folder / "postgres", socket=folder / "s", password="p@ss/word")
    made.prepare()
    yield made
    shutil.rmtree(folder)


@pytest.fixture
def valkey(short_tmp: Path) -> Valkey:
    (short_tmp / "valkey").mkdir()
    made = Valkey(directory=short_tmp / "valkey", port=any_free(), password="secret")
    made.prepare()
    return made


def test_postgresql_keeps_what_it_was_given_over_a_stop(supervisor: Supervisor, postgres: Postgres) -> None:
    supervisor.start([postgres.program()])
    postgres.ensure_database()
    with psycopg.connect(postgres.url) as connection:
        connection.execute("CREATE TABLE kept (name text)")
    supervisor.stop()
    stopped = postgres.answers()

    postgres.prepare()
    supervisor.start([postgres.program()])
    postgres.ensure_database()

    assert not stopped
    with psycopg.connect(postgres.url) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


def test_a_database_from_before_there_were_roles_becomes_the_owners(supervisor: Supervisor, postgres: Postgres) -> None:
    supervisor.start([postgres.program()])
    postgres.ensure_database()
    with psycopg.connect(postgres.url) as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS old (id serial PRIMARY KEY, other bigint GENERATED ALWAYS AS IDENTITY)"
        )
        connection.execute("CREATE OR REPLACE VIEW seen AS SELECT id FROM old")
        connection.execute(
            "CREATE OR REPLACE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
        )
    with_roles = dataclasses.replace(postgres, logins={"owner": "o' wner", "app": "a/pp"})

    with_roles.ensure_database()
    with_roles.ensure_database()

    with psycopg.connect(with_roles.url_for("owner")) as owner:
        owner.execute("ALTER TABLE old ADD COLUMN IF NOT EXISTS more text")
        owner.execute("CREATE OR REPLACE VIEW seen AS SELECT id FROM old")
        owner.execute("DROP FUNCTION f()")
        (is_mighty,) = owner.execute(
            "SELECT rolsuper OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = current_user"
        ).fetchone() or (None,)
    assert is_mighty is False
    with psycopg.connect(with_roles.url_for("app")) as app, pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute("SELECT FROM old")


def test_postgresql_comes_back_after_a_kill(supervisor: Supervisor, postgres: Postgres) -> None:
    supervisor.start([postgres.program()])
    postgres.ensure_database()
    with psycopg.connect(postgres.url) as connection:
        connection.execute("CREATE TABLE ship (name text)")
    first = supervisor.running()["postgres"]

    with watched(supervisor):
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: supervisor.running().get("postgres", first) != first)
        wait_until(postgres.answers)

        with psycopg.connect(postgres.url) as connection:
            assert connection.execute("SELECT count(*) FROM ship").fetchone() == (0,)


def test_postgresql_refuses_a_wrong_password_and_listens_on_no_network(
    supervisor: Supervisor, postgres: Postgres
) -> None:
    supervisor.start([postgres.program()])

    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(f"postgresql://postgres:wrong@/postgres?host={postgres.socket}")

    with psycopg.connect(f"postgresql://postgres:p%40ss%2Fword@/postgres?host={postgres.socket}") as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


def test_postgresqls_files_and_socket_are_closed_to_other_users(supervisor: Supervisor, postgres: Postgres) -> None:
    supervisor.start([postgres.program()])

    assert postgres.socket.stat().st_mode & 0o077 == 0
    assert postgres.directory.stat().st_mode & 0o077 == 0


def test_a_data_directory_whose_making_was_interrupted_is_made_anew(postgres: Postgres) -> None:
    (postgres.directory / "cluster" / "PG_VERSION").unlink()

    postgres.prepare()

    assert (postgres.directory / "cluster" / "PG_VERSION").exists()


def test_valkey_answers_only_with_its_password(supervisor: Supervisor, valkey: Valkey) -> None:
    supervisor.start([valkey.program()])

    with redis.Redis.from_url(valkey.url) as client:
        assert client.ping()
    with (
        redis.Redis.from_url(f"redis://127.0.0.1:{valkey.port}/0") as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()


def test_valkey_starts_stops_and_comes_back_after_a_kill(supervisor: Supervisor, valkey: Valkey) -> None:
    supervisor.start([valkey.program()])
    supervisor.stop()
    stopped = valkey.answers()
    supervisor.start([valkey.program()])
    first = supervisor.running()["valkey"]

    with watched(supervisor):
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: supervisor.running().get("valkey", first) != first)
        wait_until(valkey.answers)

    assert not stopped


def test_valkeys_password_is_in_no_command_line_and_in_a_private_file(valkey: Valkey) -> None:
    program = valkey.program()

    assert not any("secret" in part for part in program.argv)
    assert Path(program.argv[1]).stat().st_mode & 0o077 == 0
