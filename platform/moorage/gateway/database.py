"""The gateway's connections to PostgreSQL. None of them is ever in a request's way."""

import contextlib
from collections.abc import AsyncIterator
from typing import Final

import psycopg

_CONNECT_SECONDS: Final = 5


@contextlib.asynccontextmanager
async def connect(database_url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """A connection in autocommit that notices a dead peer. Raises psycopg.Error or OSError."""
    connection = await psycopg.AsyncConnection.connect(
        database_url,
        autocommit=True,
        connect_timeout=_CONNECT_SECONDS,
        application_name="moorage-gateway",
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
    )
    try:
        yield connection
    finally:
        await connection.close()
