"""What every test can ask for: the cast, a committed database, and the parts that may be missing on a machine.

A part that is missing skips the test with the reason; a name in MOORAGE_TEST_REQUIRE (engine, docker, vllm, browser)
turns that skip into a failure.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import docker
import docker.errors
import psycopg
import pytest
from django.conf import settings
from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.test.utils import setup_databases, teardown_databases
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from psycopg import sql

from moorage.billing import roles
from tests import cast as everybody
from tests.embedded import HOME

#: A property holds or it does not; how long a busy machine takes over it says nothing.
hypothesis_settings.register_profile("moorage", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("moorage")

END_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
#: What a process that a test starts inherits: paths and the broker, nothing of the tests' own switches.
ROOT_ENVIRONMENT = {
    name: os.environ[name]
    for name in ("PATH", "HOME", "LANG", "TMPDIR", "BROKER_URL", "MOORAGE_SECRET_KEY", "LD_LIBRARY_PATH")
    if name in os.environ
}
REQUIRED = frozenset(part.strip() for part in os.environ.get("MOORAGE_TEST_REQUIRE", "").split(",") if part.strip())


def missing(part: str, reason: str) -> NoReturn:
    """Skips for ``reason``, or fails where ``part`` is required."""
    if part in REQUIRED:
        pytest.fail(f"MOORAGE_TEST_REQUIRE names {part}, but {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture
def cast(db: None) -> everybody.Cast:
    """Alice, Bob, Charlie and Ada, in a transaction that is rolled back."""
    return everybody.assemble()


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment: None, django_db_blocker: pytest.FixtureRequest) -> Iterator[None]:
    """The test database, made from the migrations, whichever kind of test asks first."""
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        made = setup_databases(0, interactive=False, aliases={"default"}, serialized_aliases=set())
        _let_roles_log_in()
        connections.close_all()
    # From here on whatever a test does through Django it does with the rights of the platform's own processes.
    connection_created.connect(_as_application, dispatch_uid="tests.conftest")
    yield
    connection_created.disconnect(dispatch_uid="tests.conftest")
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        url = test_database_url()
        connections.close_all()
        with psycopg.connect(url, autocommit=True) as plain:
            plain.execute(END_OTHERS)
        teardown_databases(made, verbosity=0)


def _let_roles_log_in() -> None:
    """With the owner's password: processes that a test starts have the logins that they have in an instance."""
    chosen = connection.settings_dict
    with connection.cursor() as cursor:
        for role in roles.ROLES:
            name = sql.Identifier(roles.name_of(chosen["NAME"], role))
            cursor.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(name, chosen["PASSWORD"] or None))


def _as_application(connection: BaseDatabaseWrapper, **_: object) -> None:
    with connection.cursor() as cursor:
        role = roles.name_of(connection.settings_dict["NAME"], roles.APP)
        cursor.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))


@contextlib.contextmanager
def commits_seen(django_db_blocker: pytest.FixtureRequest) -> Iterator[None]:
    """The database with commits that other connections and processes see; emptied at the end."""
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        yield
        connections.close_all()
        with psycopg.connect(test_database_url(), autocommit=True) as plain:
            # Append-only tables refuse TRUNCATE; as the test's owner we may step around their triggers.
            plain.execute("SET session_replication_role = replica")
            plain.execute(END_OTHERS)
            rows = plain.execute(
                "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'"
                " AND tablename NOT IN ('django_migrations', 'django_content_type', 'auth_permission')"
            ).fetchall()
            plain.execute(f"TRUNCATE {', '.join(row[0] for row in rows)} CASCADE")  # type: ignore[arg-type]


@pytest.fixture
def committed_db(django_db_setup: None, django_db_blocker: pytest.FixtureRequest) -> Iterator[None]:
    """A database whose commits other connections and processes see; emptied afterwards."""
    with commits_seen(django_db_blocker):
        yield


@pytest.fixture
def committed_cast(committed_db: None) -> everybody.Cast:
    """The cast, visible to other processes."""
    return everybody.assemble()


def test_database_url(role: str | None = None) -> str:
    """The URL of the database that the tests run in, for processes that a test starts: as ``role`` of
    billing/roles.py, or as its owner."""
    chosen = connection.settings_dict
    user = roles.name_of(chosen["NAME"], role) if role else chosen["USER"] or "postgres"
    password = f":{chosen['PASSWORD']}" if chosen["PASSWORD"] else ""
    host, port = chosen["HOST"], chosen["PORT"]
    if host.startswith("/"):
        return f"postgresql://{user}{password}@/{chosen['NAME']}?host={host}" + (f"&port={port}" if port else "")
    return f"postgresql://{user}{password}@{host}{f':{port}' if port else ''}/{chosen['NAME']}"


test_database_url.__test__ = False  # type: ignore[attr-defined]


@pytest.fixture
def database_url(committed_db: None) -> str:
    """As test_database_url, once its commits are visible."""
    return test_database_url()


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """A directory with a short path: Unix sockets must stay under 108 bytes."""
    path = Path(tempfile.mkdtemp(prefix="m", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def home() -> Path:
    """MOORAGE_HOME of the tests."""
    return HOME


@pytest.fixture(scope="session")
def llama_server() -> Path:
    """The llama-server binary."""
    named = os.environ.get("MOORAGE_LLAMA_SERVER") or shutil.which("llama-server")
    if not named or not Path(named).is_file():
        missing("engine", "there is no llama-server: set MOORAGE_LLAMA_SERVER or run ./manage.py test, which builds it")
    return Path(named)


@pytest.fixture(scope="session")
def vllm_python() -> Path:
    """A Python that can import vLLM."""
    named = os.environ.get("MOORAGE_VLLM_PYTHON")
    if not named or not Path(named).is_file():
        missing("vllm", "there is no vLLM: set MOORAGE_VLLM_PYTHON to a Python that has it")
    return Path(named)


@pytest.fixture(scope="session")
def docker_host() -> str:
    """The address of a Docker Engine that answers."""
    address = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    try:
        client = docker.DockerClient(base_url=address, timeout=5)
        client.ping()
        client.close()
    except docker.errors.DockerException as error:
        missing("docker", f"no Docker Engine answers at {address}: {error}")
    return address


def _image(docker_host: str, part: str, name: str) -> str:
    client = docker.DockerClient(base_url=docker_host, timeout=10)
    try:
        client.images.get(name)
    except docker.errors.ImageNotFound:
        missing(part, f"the runner image {name} is not there: build it with deploy/ci/runner-images")
    finally:
        client.close()
    return name


@pytest.fixture(scope="session")
def llamacpp_image(docker_host: str) -> str:
    """The llama.cpp runner image on the Engine."""
    return _image(docker_host, "docker", settings.MOORAGE_LLAMACPP_IMAGE)


@pytest.fixture(scope="session")
def vllm_image(docker_host: str) -> str:
    """The vLLM runner image on the Engine."""
    return _image(docker_host, "vllm", settings.MOORAGE_VLLM_IMAGE)


@pytest.fixture(scope="session")
def chromium() -> Path:
    """A Chromium that Playwright can drive."""
    named = os.environ.get("MOORAGE_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not named:
        missing("browser", "there is no Chromium: install Debian's package chromium")
    return Path(named)


@pytest.fixture(scope="session")
def demo_catalog() -> Path:
    """The committed demo models as OCI layouts."""
    return settings.REPOSITORY / "runners" / "demo" / "catalog"
