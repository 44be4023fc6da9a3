"""A twin of the tests' own, emptied for each, and the real SDK beside it."""

import typing

import pytest
import stripe

from tests.stripe_twin.fixtures import started
from tests.stripe_twin.process import API_KEY, TwinProcess

__all__ = ["client", "started", "twin"]


@pytest.fixture
def twin(started: TwinProcess) -> TwinProcess:
    started.control("forget")
    return started


@pytest.fixture
def client(twin: TwinProcess) -> stripe.StripeClient:
    stripe.enable_telemetry = False
    hosts: typing.Any = dict.fromkeys(("api", "connect", "files", "meter_events"), twin.url)
    return stripe.StripeClient(API_KEY, base_addresses=hosts, max_network_retries=0)
