"""Browsers without JavaScript: one signed-in client a person; and what a harbour with a deployment looks like."""

from collections.abc import Callable

import pytest
from django.test import Client

from moorage.accounts.models import User
from moorage.deployments import services as deployments
from moorage.deployments.models import Deployment, Replica, ReplicaStatus
from tests.cast import Cast
from tests.stripe_twin.fixtures import started, twin

__all__ = ["started", "twin"]

COMPOSE = """\
models:
  llm:
    model: catalog/harbour:q8_0
services:
  app:
    image: app
    models: [llm]
"""
SignIn = Callable[[User], Client]


def browser_of(user: User) -> Client:
    """A browser in which ``user`` is signed in."""
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def signed_in() -> SignIn:
    """browser_of, for fixtures and tests that ask for it."""
    return browser_of


@pytest.fixture
def alice(cast: Cast) -> Client:
    """Alice's browser; she owns harbour."""
    return browser_of(cast.alice.user)


@pytest.fixture
def ada(cast: Cast) -> Client:
    """The administrator's browser."""
    return browser_of(cast.ada)


@pytest.fixture
def deployment(cast: Cast) -> Deployment:
    """Harbour's deployment ``demo`` with one replica that is being pulled."""
    applied = deployments.apply(
        organization=cast.alice.organization, name="demo", compose_text=COMPOSE, by=cast.alice.actor
    )
    Replica.objects.create(
        deployment=applied.deployment,
        revision=applied.revision,
        model_key="llm",
        status=ReplicaStatus.PULLING,
        reason="Bringing the weights to the node.",
        pulled_bytes=3_100_000,
        total_bytes=7_800_000,
        argv=["llama-server", "--ctx-size", "512"],
        container_name="moorage-demo",
    )
    return applied.deployment
