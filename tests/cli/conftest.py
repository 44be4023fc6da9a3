"""`moorage …` against the real REST API, without a socket."""

from collections.abc import Callable

import httpx
import pytest
from django.core.wsgi import get_wsgi_application

from moorage.cli.main import main
from tests.cast import Cast

Run = Callable[..., int]


@pytest.fixture
def moorage(committed_cast: Cast) -> Run:
    """`moorage …` with Alice's key, as her terminal and her pipeline run it."""
    transport = httpx.WSGITransport(app=get_wsgi_application())
    environment = {"MOORAGE_API_URL": "http://127.0.0.1:8400/api/v1", "MOORAGE_API_TOKEN": committed_cast.alice.key()}

    def run(*words: str) -> int:
        return main(words, environment=environment, transport=transport)

    return run
