"""A twin of the tests' own, emptied for each, and the real SDK beside it."""

import typing
from collections.abc import Iterator

import pytest
import stripe

from tests.stripe_twin.process import API_KEY, TwinProcess, running


@pytest.fixture(scope="module")
def started() -> Iterator[TwinProcess]:
    with running() as twin:
        yield twin


@pytest.fixture
def twin(started: TwinProcess) -> TwinProcess:
    started.control("forget")
    return started


@pytest.fixture
def client(twin: TwinProcess) -> stripe.StripeClient:
    stripe.enable_telemetry = False
    hosts: typing.Any = dict.fromkeys(("api", "connect", "files", "meter_events"), twin.url)
    return stripe.StripeClient(API_KEY, base_addresses=hosts, max_network_retries=0)
