"""The twin as the payment provider of the instance under test; a folder's conftest.py takes these in."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.stripe_twin.process import API_KEY, SECRET, TwinProcess, running


@pytest.fixture(scope="module")
def started() -> Iterator[TwinProcess]:
    """A twin for a module's tests."""
    with running() as twin:
        yield twin


@pytest.fixture
def twin(started: TwinProcess, settings: Any) -> TwinProcess:
    """Stripe, as this instance's provider; nothing has happened there yet."""
    started.control("forget")
    settings.STRIPE_API_KEY = API_KEY
    settings.STRIPE_WEBHOOK_SECRETS = (SECRET,)
    settings.STRIPE_BASE_URL = started.url
    return started
